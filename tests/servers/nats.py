"""NATS servers for the tests, on the very class that runs the bundled one in the product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.nats_server import BundledNats


@contextmanager
def running_nats(store_dir: Path) -> Iterator[BundledNats]:
    """A server that outlives the event loops of the tests, for fixtures wider than one test."""
    server = BundledNats(store_dir)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield server
        finally:
            runner.run(server.stop())


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server that all tests share: use names of your own in subjects and streams."""
    with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture(scope="module")
def module_nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server that only the tests of one module share; it takes 0.1 s."""
    with running_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[BundledNats]:
    """A server of the test's own, to stop, kill and restart."""
    server = BundledNats(tmp_path / "nats")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
