"""How fast sessions are replayed from the store: `python -m benchmarks.replay`.

The floor is reading and decoding the same events and nothing more. Beside each rate stands the
processor time of one event, and in the end the ratio of the rates.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks import recorded
from benchmarks.timing import Cost, best, rate
from events.blobs import MemoryBlobs
from events.open import open_store
from events.store import EventStore
from projections.replay import replay

SHAPES = ((100, 10), (10, 100), (1, 1000))  # sessions, turns each


async def costs(store: EventStore, blobs: MemoryBlobs, names: list[str]) -> list[Cost]:
    """What decoding alone costs, and what replaying does; the best of a few rounds."""

    async def decode() -> None:
        for name in names:
            await store.read(name)

    async def verify() -> None:
        for name in names:
            result = await replay(store, blobs, name)
            assert result.identical

    return [await best(run) for run in (decode, verify)]


async def measure() -> None:
    """Print a line for each shape of log."""
    print(f"{'sessions x turns':>16} {'events':>8}{'decode only':>25}{'replay':>25}{'ratio':>7}")
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
            both = await costs(store, blobs, names)
            await store.close()
        cells = "".join(rate(count, cost) for cost in both)
        shape, ratio = f"{sessions} x {turns}", both[0][0] / both[1][0]
        print(f"{shape:>16} {count:>8}{cells}{ratio:>7.2f}", flush=True)


if __name__ == "__main__":
    uvloop.run(measure())
