"""How fast the projections follow the log: `python -m benchmarks.projections`.

The floor is reading and decoding the same events, page by page, and nothing more. Beside each rate
stands the processor time of one event; reading and writing overlap where there are two cores.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks import recorded
from benchmarks.timing import Cost, best, rate
from events.blobs import MemoryBlobs
from events.envelope import Event
from events.open import open_store
from events.store import EventStore
from projections.database import COSTS, PROJECTORS, SESSIONS, TRANSCRIPTS
from projections.projector import Projector
from projections.runner import PAGE, ProjectionRunner

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


async def measure() -> None:
    """Print a line for each shape of log and each projection."""
    print(
        f"{'sessions x turns':>16} {'events':>8}  {'what':<12}{'rate':>14}{'CPU':>11}{'ratio':>7}"
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
    ratio = floor[0] / cost[0]
    print(f"{shape:>16} {count:>8}  {what:<12}{rate(count, cost)}{ratio:>7.2f}", flush=True)


if __name__ == "__main__":
    uvloop.run(measure())
