"""A store whose file is changed behind its back."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from events.open import open_store
from events.store import Fault
from tests.event_samples import answered, batch, started, turn_of

STREAM, LENGTH = "sess_1", 15
"""Two whole turns and one that is open; one event is long enough to be compressed."""

Tamper = Callable[[sqlite3.Connection], object]


class TamperedStore:
    """A SQLite event store, and copies of it that are tampered with."""

    def __init__(self, folder: Path) -> None:
        self.original, self.copy = folder / "original.db", folder / "copy.db"
        asyncio.run(self._write())
        with closing(sqlite3.connect(self.original)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _write(self) -> None:
        store = open_store(f"sqlite:///{self.original}")
        # Two streams in turns, so that a stream's sequences have gaps.
        for n, turn in enumerate(("turn_1", "turn_2")):
            for stream in (STREAM, "other"):
                await store.append(stream, 6 * n, turn_of(stream, 6 * n, turn))
        long = answered("A long answer. " * 200)
        await store.append(STREAM, 12, batch(STREAM, 12, started(), long, long, turn="turn_3"))
        assert [fault async for fault in store.verify()] == []
        await store.close()

    def tampered(self, tamper: Tamper) -> list[Fault]:
        """The faults that are found after `tamper`."""
        shutil.copyfile(self.original, self.copy)
        with closing(sqlite3.connect(self.copy)) as database:
            tamper(database)
            database.commit()
        return self.faults()

    def faults(self) -> list[Fault]:
        async def verify() -> list[Fault]:
            store = open_store(f"sqlite:///{self.copy}", read_only=True)
            try:
                return [fault async for fault in store.verify()]
            finally:
                await store.close()

        return asyncio.run(verify())


def execute(*statements: str, **values: Any) -> Tamper:
    """SQL, in which `:s` is the stream."""

    def tamper(database: sqlite3.Connection) -> None:
        for statement in statements:
            assert database.execute(statement, {"s": STREAM, **values}).rowcount

    return tamper


def forms(database: sqlite3.Connection) -> dict[int, bytes]:
    return dict(
        database.execute(
            "SELECT originator_version, state FROM stored_events WHERE originator_id = ?",
            (STREAM,),
        )
    )


def set_form(database: sqlite3.Connection, position: int, form: bytes) -> None:
    database.execute(
        "UPDATE stored_events SET state = ? WHERE originator_id = ? AND originator_version = ?",
        (form, STREAM, position),
    )


def where(faults: list[Fault]) -> list[tuple[str, int]]:
    return [(fault.stream, fault.position) for fault in faults]


POSITIONS = st.integers(1, LENGTH)
PAIRS = st.lists(POSITIONS, min_size=2, max_size=2, unique=True)
IS_K = "WHERE originator_id = :s AND originator_version = :k"
