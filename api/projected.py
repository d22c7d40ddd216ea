"""Answers out of projections, which follow the log a little behind."""

from __future__ import annotations

import asyncio

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
    pause = _FIRST_PAUSE
    try:
        async with asyncio.timeout(WITHIN):
            while await _position(doors, session) < head.position:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
    except TimeoutError:
        return  # the answer says its position


async def _position(doors: Doors, session: str) -> int:
    return await asyncio.to_thread(doors.room.projections.position, session)
