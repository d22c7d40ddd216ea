"""How fast the projections follow the log: `python -m benchmarks.projections`.

The floor is reading and decoding the same events, page by page, and nothing more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import recorded
from events.blobs import MemoryBlobs
from events.envelope import Event
from events.open import open_store
from events.store import EventStore
from projections.database import COSTS, PROJECTORS, SESSIONS, TRANSCRIPTS
from projections.projector import Projector
from projections.runner import PAGE, ProjectionRunner

ROUNDS = 3
SHAPES = ((100, 10), (10, 100))  # sessions, turns each
WHAT: dict[str, Sequence[Projector]] = {
    "sessions": (SESSIONS,),
    "transcript": (TRANSCRIPTS,),
    "costs": (COSTS,),
    "all": PROJECTORS,
}


async def fill(store: EventStore, batches: list[list[list[Event]]]) -> None:
    """Append the batches of all sessions as they would come: interleaved."""
    chance = random.Random(1)
    left = [iter(session) for session in batches]
    while left:
        at = chance.randrange(len(left))
        if (batch := next(left[at], None)) is None:
            del left[at]
        else:
            await store.append(batch[0].stream, batch[0].position - 1, batch)


async def decode(store: EventStore) -> float:
    """Seconds that reading every page takes."""
    begin, after = time.perf_counter(), 0
    while page := await store.read_all(after, PAGE):
        after = page[-1].sequence
    return time.perf_counter() - begin


async def project(store: EventStore, path: Path, projectors: Sequence[Projector]) -> float:
    """Seconds that making those projections takes, reading included."""
    begin = time.perf_counter()
    async with ProjectionRunner(store, path, projectors=projectors) as runner:
        await runner.catch_up()
    return time.perf_counter() - begin


async def main() -> None:
    names = "".join(f"{name:>13}" for name in WHAT)
    print(f"{'sessions x turns':>16} {'events':>8} {'decode only':>12}{names}  ratio of all")
    for sessions, turns in SHAPES:
        batches = recorded.sessions(sessions, turns, MemoryBlobs())
        count = recorded.events(batches)
        with TemporaryDirectory() as name:
            folder = Path(name)
            store = open_store(f"sqlite:///{folder}/room.db")
            await fill(store, batches)
            floor = count / min([await decode(store) for _ in range(ROUNDS)])
            rates = [
                count
                / min(
                    [
                        await project(store, folder / f"{what}-{number}.db", projectors)
                        for number in range(ROUNDS)
                    ]
                )
                for what, projectors in WHAT.items()
            ]
            await store.close()
        row = "".join(f"{rate:>11,.0f}/s" for rate in rates)
        shape = f"{sessions} x {turns}"
        print(f"{shape:>16} {count:>8} {floor:>10,.0f}/s{row}  {rates[-1] / floor:>12.2f}")


if __name__ == "__main__":
    asyncio.run(main())
