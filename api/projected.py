"""Answers out of projections, which follow the log a little behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.doors import Doors
from api.following import unknown_session

WITHIN = 2.0  # seconds to catch up with what was in the log when the request came
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05


async def caught_up(doors: Doors, session: str) -> None:
    """Returns when the projections have the session as of now, or after two seconds.

    Raises a 404 `ProblemError` for an unknown session.
    """
    head = await doors.room.store.head(session)
    if head is None:
        raise unknown_session(session)
    await _until(lambda: doors.room.projections.position(session), head.position)


async def all_caught_up(doors: Doors) -> None:
    """Returns when the projections have the whole store as of now, or after two seconds."""
    await _until(doors.room.projections.tracked, await doors.room.store.last())


async def _until(reached: Callable[[], int], wanted: int) -> None:
    pause = _FIRST_PAUSE
    try:
        async with asyncio.timeout(WITHIN):
            while await asyncio.to_thread(reached) < wanted:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
    except TimeoutError:
        return  # the answer says its position
