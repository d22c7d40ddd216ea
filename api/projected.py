"""Answers out of projections, which follow the log a little behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from actors import subjects
from actors.bus import Bus, Msg
from api.following import unknown_session

if TYPE_CHECKING:
    from api.doors import Doors

WITHIN = 2.0  # seconds to catch up with what was in the log when the request came
AGAIN = 0.25  # seconds after which is looked again all the same: a notice may be lost


class Advances:
    """Hears of the projections' advances, for those who wait for one."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._next = asyncio.Event()

    async def start(self) -> None:
        """Listen for as long as the connection lives."""
        await self._bus.subscribe(subjects.PROJECTED, self._hear)

    async def until(self, reached: Callable[[], int], wanted: int) -> None:
        """Returns when `reached`, which reads the projections, gives `wanted`, or after `WITHIN`.

        It is called at once, with every advance, and every `AGAIN` seconds.
        """
        with suppress(TimeoutError):  # the answer says its position
            async with asyncio.timeout(WITHIN):
                while True:
                    following = self._next  # taken before the look: what comes meanwhile counts
                    if await asyncio.to_thread(reached) >= wanted:
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(AGAIN):
                            await following.wait()

    def _hear(self, _: Msg) -> None:
        self._next.set()
        self._next = asyncio.Event()


async def caught_up(doors: Doors, session: str) -> None:
    """Returns when the projections have the session as of now, or after two seconds.

    Raises a 404 `ProblemError` for an unknown session.
    """
    head = await doors.room.store.head(session)
    if head is None:
        raise unknown_session(session)
    await doors.advances.until(lambda: doors.room.projections.position(session), head.position)


async def all_caught_up(doors: Doors) -> None:
    """Returns when the projections have the whole store as of now, or after two seconds."""
    await doors.advances.until(doors.room.projections.tracked, await doors.room.store.last())
