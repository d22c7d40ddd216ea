"""How fast the projections follow the log: `python -m benchmarks.projections`.

The floor is reading and decoding the same events, page by page, and nothing more. Beside each rate
stands the processor time of one event; reading and writing overlap where there are two cores.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

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


async def decode(store: EventStore) -> None:
    """Read every page."""
    after = 0
    while page := await store.read_all(after, PAGE):
        after = page[-1].sequence


async def project(store: EventStore, path: Path, projectors: Sequence[Projector]) -> None:
    """Make those projections, reading included."""
    path.unlink(missing_ok=True)
    async with ProjectionRunner(store, path, projectors=projectors) as runner:
        await runner.catch_up()


Cost = tuple[float, float]
"""Seconds of the clock, and of the processor."""


async def best(run: Callable[[], Awaitable[None]]) -> Cost:
    """The least that a round took, by each clock."""
    found = []
    for _ in range(ROUNDS):
        begin, used = time.perf_counter(), time.process_time()
        await run()
        found.append((time.perf_counter() - begin, time.process_time() - used))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


async def measure() -> None:
    """Print a line for each shape of log and each projection."""
    print(
        f"{'sessions x turns':>16} {'events':>8}  {'what':<12}{'rate':>12}{'CPU':>11}{'ratio':>7}"
    )
    for sessions, turns in SHAPES:
        batches = recorded.sessions(sessions, turns, MemoryBlobs())
        count = recorded.events(batches)
        with TemporaryDirectory() as name:
            folder = Path(name)
            store = open_store(f"sqlite:///{folder}/room.db")
            await fill(store, batches)
            shape = f"{sessions} x {turns}"
            floor = await best(partial(decode, store))
            line(shape, count, "decode only", floor, floor)
            for what, projectors in WHAT.items():
                cost = await best(partial(project, store, folder / f"{what}.db", projectors))
                line(shape, count, what, cost, floor)
            await store.close()


def line(shape: str, count: int, what: str, cost: Cost, floor: Cost) -> None:
    """Print one measurement: events a second, processor time of an event, ratio to the floor."""
    wall, cpu = cost
    print(
        f"{shape:>16} {count:>8}  {what:<12}{count / wall:>10,.0f}/s{cpu / count * 1e6:>8.1f} us"
        f"{floor[0] / wall:>7.2f}",
        flush=True,
    )


if __name__ == "__main__":
    uvloop.run(measure())
