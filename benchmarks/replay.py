"""How fast sessions are replayed from the store: `python -m benchmarks.replay`.

The floor is reading and decoding the same events and nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import recorded
from events.blobs import MemoryBlobs
from events.open import open_store
from events.store import EventStore
from projections.replay import replay

ROUNDS = 3
SHAPES = ((100, 10), (10, 100), (1, 1000))  # sessions, turns each


async def rates(store: EventStore, blobs: MemoryBlobs, names: list[str], count: int) -> list[float]:
    """Events a second: decoded only, and replayed; the best of a few rounds."""

    async def decode() -> None:
        for name in names:
            await store.read(name)

    async def verify() -> None:
        for name in names:
            result = await replay(store, blobs, name)
            assert result.identical

    return [count / await best(run) for run in (decode, verify)]


async def best(run: Callable[[], Awaitable[None]]) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await run()
        times.append(time.perf_counter() - begin)
    return min(times)


async def main() -> None:
    print(f"{'sessions x turns':>16} {'events':>8} {'decode only':>12} {'replay':>9} {'ratio':>6}")
    for sessions, turns in SHAPES:
        with TemporaryDirectory() as folder:
            blobs = MemoryBlobs()
            batches = recorded.sessions(sessions, turns, blobs)
            store = open_store(f"sqlite:///{Path(folder)}/room.db")
            for session in batches:
                events = [event for batch in session for event in batch]
                await store.append(events[0].stream, 0, events)
            count = recorded.events(batches)
            names = [session[0][0].stream for session in batches]
            floor, rate = await rates(store, blobs, names, count)
            await store.close()
        shape = f"{sessions} x {turns}"
        print(f"{shape:>16} {count:>8} {floor:>10,.0f}/s {rate:>7,.0f}/s {rate / floor:>6.2f}")


if __name__ == "__main__":
    asyncio.run(main())
