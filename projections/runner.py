"""Follows the log and keeps the projections up to date with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from actors import subjects
from actors.bus import Bus
from events.errors import ControlRoomError
from events.store import EventStore
from events.values import Value
from projections import tracking
from projections.database import PROJECTORS
from projections.projector import Projector
from projections.writer import Writer

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

PAGE = 1000
"""Events of one transaction at most."""

GATHER = 0.02
"""Seconds between a notice and reading what it tells of: what a turn commits comes in bursts."""

APART = 0.1
"""Seconds from one look at the log to the next at least, where notices keep coming: a transaction
of a hundred events costs little more than one of ten."""

POLL = 3.0
"""Seconds between two looks at the log when no notice comes: NATS may drop one."""


class Projected(Value):
    """Notice on `room.projected`: every projection has reached this sequence of the store."""

    sequence: int


class ProjectionRunner:
    """Reads the log by its sequence, and counts every event in exactly once, whatever happens.

    Commit notices wake it; they are hints only, for it reads on from where the projections are. A
    projection of another version, or of another store, is made anew. There is to be one runner for
    a database; with `bus` it announces on `room.projected` how far it has come.
    """

    def __init__(
        self,
        store: EventStore,
        database: Path,
        bus: Bus | None = None,
        *,
        projectors: Sequence[Projector] = PROJECTORS,
        page: int = PAGE,
        poll: float = POLL,
    ) -> None:
        self._store = store
        self._bus = bus
        self._page = page
        self._poll = poll
        self._writer = Writer(database, projectors)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="projections")
        self._turn = asyncio.Lock()
        self._known = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def run(self) -> None:
        """Follow the log until cancelled; what fails is logged and tried again."""
        woken = asyncio.Event()
        subscription = None
        if self._bus is not None:
            # Subscribed before the first read, so that nothing falls between them.
            subscription = await self._bus.subscribe(
                subjects.ALL_COMMITS, lambda message: woken.set()
            )
            self._bus.on_reconnect(woken.set)
        trouble = ""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                looked = clock()
                woken.clear()
                try:
                    await self.catch_up()
                    trouble = ""
                except ControlRoomError as error:
                    if trouble != (trouble := str(error)):
                        _log.error("the projections stand still: %s", error)
                    await asyncio.sleep(self._poll)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await woken.wait()
                        await asyncio.sleep(max(GATHER, looked + APART - clock()))
        finally:
            if subscription is not None:
                await subscription.unsubscribe()
            await self.close()

    async def catch_up(self) -> int:
        """Count in all that the log holds by now; returns the sequence that was reached."""
        async with self._turn:
            if not self._known:
                await self._recognise()
            return await self._follow()

    async def rebuild(self) -> int:
        """Make all projections anew, from the first event on; returns the sequence reached."""
        async with self._turn:
            await self._in_thread(self._writer.reset)
            return await self._follow()

    async def close(self) -> None:
        """Finish what is being written, and give back the file."""
        await asyncio.to_thread(self._thread.shutdown)
        self._writer.close()

    async def _follow(self) -> int:
        after = min(one.sequence for one in await self._in_thread(self._writer.tracked))
        reading = asyncio.create_task(self._store.read_all(after, self._page))
        try:
            while page := await reading:
                before, after = after, page[-1].sequence
                # The next page is read while this one is written.
                reading = asyncio.create_task(self._store.read_all(after, self._page))
                await self._in_thread(self._writer.apply, before, page)
                if self._bus is not None:
                    await self._bus.publish(subjects.PROJECTED, Projected(sequence=after))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return after

    async def _recognise(self) -> None:
        """Begin anew where the projections are not those of this store."""
        for at in await self._in_thread(self._writer.tracked):
            if at.sequence == 0:
                continue
            last = await self._store.read_all(at.sequence - 1, 1)
            if not last or last[0].sequence != at.sequence or tracking.mark(last[0]) != at.mark:
                _log.warning("the projections are those of another event store: made anew")
                await self._in_thread(self._writer.reset)
                break
        self._known = True

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: call(*args, **kwargs)
        )
