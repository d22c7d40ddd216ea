"""Event stores for the suites that every one of them passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.open import open_store
from events.store import EventStore


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
