"""Following every stream of the store, in its own order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from actors import subjects
from actors.bus import Bus, Msg, Subscription
from events.envelope import Recorded
from events.store import EventStore

PAUSE = 2.0  # seconds after which the store is looked at even without a notice
PAGE = 500


class AllEvents:
    """Wakes whoever follows the whole store when something was committed anywhere."""

    def __init__(self, bus: Bus, store: EventStore) -> None:
        self._bus = bus
        self._store = store
        self._wakes: set[asyncio.Event] = set()
        self._subscription: Subscription | None = None

    async def follow(self, after: int) -> AsyncIterator[Sequence[Recorded]]:
        """Every event beyond the sequence `after`, in pages; an empty page after each pause."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        try:
            if self._subscription is None:
                self._subscription = await self._bus.subscribe(subjects.ALL_COMMITS, self._notice)
            while True:
                wake.clear()
                page = await self._store.read_all(after, PAGE)
                yield page
                if page:
                    after = page[-1].sequence
                else:
                    await _within(wake, PAUSE)
        finally:
            self._wakes.discard(wake)

    async def close(self) -> None:
        """Listen no longer."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def _notice(self, msg: Msg) -> None:
        for wake in self._wakes:
            wake.set()


async def _within(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
