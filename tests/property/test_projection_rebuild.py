"""However the runner is interrupted, the projections are those of a run from scratch."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import anyio
from hypothesis import given
from hypothesis import strategies as st

from events.open import open_store
from events.store import EventStore
from projections.database import PROJECTORS
from projections.projector import Page, Projector
from projections.runner import ProjectionRunner
from tests.eventful_logs import eventful_log
from tests.projected import dump
from tests.session_logs import append_all


class Crash(Exception):
    """The runner stops here."""


class Fused:
    """A projector that crashes on the pages that it is told to, with its rows half written."""

    def __init__(self, projector: Projector, crashes: Iterator[bool]) -> None:
        self._projector = projector
        self._crashes = crashes
        self.name, self.version, self.ddl = projector.name, projector.version, projector.ddl

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        crashes = next(self._crashes, False)
        self._projector.apply(connection, page[: len(page) // 2 + 1] if crashes else page)
        if crashes:
            raise Crash


async def interrupted(store: EventStore, path: Path, sizes: list[int], crashes: list[bool]) -> None:
    """Counts everything in, with pages of those sizes, a new runner after every crash."""
    remaining = iter(crashes)
    projectors = [Fused(projector, remaining) for projector in PROJECTORS]
    turn = 0
    while True:
        size = sizes[turn % len(sizes)]
        runner = ProjectionRunner(store, path, projectors=projectors, page=size)
        turn += 1
        try:
            await runner.catch_up()
        except Crash:
            continue
        finally:
            await runner.close()
        return


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    crashes=st.lists(st.booleans(), max_size=30),
    cut=st.floats(0, 1),
)
def test_any_pages_and_any_crashes_give_the_tables_of_a_run_from_scratch(
    seed: int, sizes: list[int], crashes: list[bool], cut: float
) -> None:
    async def check(folder: Path) -> None:
        random = Random(seed)
        logs = [eventful_log(f"s{n}", random, actions=15) for n in range(random.randint(1, 3))]
        store = open_store("memory:")
        # Some of it is counted in before the rest is written.
        early = [log for log in logs if random.random() < cut]
        await append_all(store, early, random)
        await interrupted(store, folder / "one.db", sizes, crashes)
        await append_all(store, [log for log in logs if log not in early], random)
        await interrupted(store, folder / "one.db", sizes[::-1], crashes[::-1])

        async with ProjectionRunner(store, folder / "whole.db", page=10_000) as runner:
            await runner.catch_up()
        assert dump(folder / "one.db") == dump(folder / "whole.db")

        rebuilt = ProjectionRunner(store, folder / "one.db", page=sizes[0])
        await rebuilt.rebuild()
        await rebuilt.close()
        assert dump(folder / "one.db") == dump(folder / "whole.db")
        await store.close()

    with TemporaryDirectory() as folder:
        anyio.run(check, Path(folder))
