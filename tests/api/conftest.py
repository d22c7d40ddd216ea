"""Rooms for the tests of the doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from tests.api.openai_door import client_of
from tests.rooms import LocalRoom, local_room


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    """A room that the tests of one module share: use sessions of your own."""
    async with local_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    """A room of the test's own, to stop parts of."""
    async with local_room(tmp_path) as room:
        yield room


@pytest.fixture
async def client(shared: LocalRoom) -> AsyncIterator[AsyncOpenAI]:
    """The client that OpenAI publishes, at the door of the shared room."""
    async with client_of(shared) as client:
        yield client
