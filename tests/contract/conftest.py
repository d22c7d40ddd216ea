"""Event stores for the suites that every one of them passes, and projections of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from events.open import open_store
from events.store import EventStore
from projections.database import Reader, open_reader


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path}/a room's events?.db"
        case "postgres":
            return str(request.getfixturevalue("postgres_database"))
        case _:
            return "memory:"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    """An empty store of each kind."""
    store = open_store(url)
    yield store
    await store.close()


@pytest.fixture
async def memory() -> AsyncIterator[EventStore]:
    """An empty store, where its kind does not matter."""
    store = open_store("memory:")
    yield store
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the projections are kept; there is neither file nor folder yet."""
    return tmp_path / "data" / "projections.db"


@pytest.fixture
def reader(path: Path) -> Iterator[Reader]:
    """A reader of the projections."""
    reader = open_reader(path)
    yield reader
    reader.close()
