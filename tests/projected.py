"""Projections of session logs, for tests that look at what is in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from events.open import open_store
from projections.database import Reader, open_reader
from projections.runner import ProjectionRunner
from tests.session_logs import SessionLog, append_all


async def project(folder: Path, *logs: SessionLog, page: int = 1000) -> Reader:
    """Count in whole logs, one after another, through a store in memory."""
    store = open_store("memory:")
    await append_all(store, logs)
    path = folder / "projections.db"
    async with ProjectionRunner(store, path, page=page) as runner:
        await runner.catch_up()
    await store.close()
    return open_reader(path)


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in an order that says nothing of how it was written."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr)
            for (name,) in tables.fetchall()
        }
