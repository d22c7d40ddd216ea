"""A room whose settings can never work says so in one line, and ends."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.nats_server import BundledNats
from api.preconditions import check_outside
from api.settings import Settings
from tests.live_room import ROOT, refused
from tests.servers.postgres import PostgresServer


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[BundledNats]:
    server = BundledNats(tmp_path / "nats", token="the-right-token-of-it")
    await server.start()
    yield server
    await server.stop()


async def says(home: Path, **settings: str) -> str:
    """What the room says, in one line, when it refuses to start with exit code 2."""
    given: Mapping[str, str] = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CONTROL_ROOM_HOME": str(home),
        "CONTROL_ROOM_PORT": "0",
        **{f"CONTROL_ROOM_{name}": value for name, value in settings.items()},
    }
    code, said = await refused(given)
    assert code == 2, said
    assert len(said.strip().splitlines()) == 1, said
    assert not (home / "logs").exists()  # nothing was started
    return said


async def test_a_file_that_can_be_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("What I wanted to say.")
    for path, said in (
        (tmp_path / "notes.txt", "is not an event store"),
        (tmp_path / "notes.txt" / "room.db", "cannot be used"),
        (tmp_path, "cannot be used"),
        (Path("/proc/nowhere/room.db"), "cannot be "),
    ):
        shown = await says(tmp_path / "home", STORE=f"sqlite:///{path}")
        assert f"CONTROL_ROOM_STORE: {path} {said}" in shown


async def test_postgresql_that_nobody_serves(tmp_path: Path, nobody: int) -> None:
    url = f"postgresql://room:secret@127.0.0.1:{nobody}/room"
    said = await says(tmp_path, STORE=url)
    assert "CONTROL_ROOM_STORE: " in said
    assert str(nobody) in said
    assert "secret" not in said


async def test_postgresql_that_refuses(tmp_path: Path, postgres_server: PostgresServer) -> None:
    url, _, _ = postgres_server.url().rpartition("/")
    said = await says(tmp_path, STORE=f"{url}/no_such_database")
    assert "CONTROL_ROOM_STORE: " in said
    assert "no_such_database" in said


async def test_nats_that_nobody_serves(tmp_path: Path, nobody: int) -> None:
    said = await says(tmp_path, NATS=f"nats://secret-token-of-nobody@127.0.0.1:{nobody}")
    assert f"no NATS server at 127.0.0.1:{nobody}" in said
    assert "CONTROL_ROOM_NATS" in said
    assert "secret" not in said


async def test_nats_that_refuses_the_token(tmp_path: Path, nats: BundledNats) -> None:
    address = nats.url.rpartition("@")[2]
    said = await says(tmp_path / "home", NATS=f"nats://the-wrong-token-of-it@{address}")
    assert "refuses the token: check CONTROL_ROOM_NATS" in said
    assert "wrong" not in said


async def test_a_ray_cluster_that_is_not_there(tmp_path: Path, nobody: int) -> None:
    said = await says(tmp_path, RAY=f"127.0.0.1:{nobody}")
    assert f"CONTROL_ROOM_RAY: no Ray cluster at 127.0.0.1:{nobody}" in said
    assert "write it as HOST:PORT" in await says(tmp_path, RAY="cluster")


async def test_what_is_there_is_let_pass(
    tmp_path: Path, nats: BundledNats, postgres_server: PostgresServer
) -> None:
    port = nats.url.rpartition(":")[2]
    await check_outside(
        Settings(
            home=tmp_path,
            nats=SecretStr(nats.url),
            store=SecretStr(postgres_server.url()),
            ray=f"127.0.0.1:{port}",
        )
    )
    await check_outside(Settings(home=tmp_path))
