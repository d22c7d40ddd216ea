"""The servers under the other tests are real, and keep the promises the other tests rely on."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
from pathlib import Path

import nats
import psutil
import psycopg
import pytest
from nats.aio.msg import Msg
from nats.js.api import StorageType

from api.nats_server import BundledNats
from events.errors import ConfigError, ControlRoomError
from tests.servers.postgres import PostgresServer
from tests.waiting import eventually

# --- NATS ------------------------------------------------------------------------------------


async def test_nats_carries_requests_and_keeps_a_stream(nats_url: str) -> None:
    async with await nats.connect(nats_url) as client:

        async def echo(message: Msg) -> None:
            await message.respond(message.data[::-1])

        await client.subscribe("servers.echo", cb=echo)
        assert (await client.request("servers.echo", b"abc", timeout=5)).data == b"cba"

        stream = client.jetstream()
        await stream.add_stream(
            name="SERVERS", subjects=["servers.kept.*"], storage=StorageType.MEMORY
        )
        acks = [await stream.publish(f"servers.kept.{n}", str(n).encode()) for n in range(3)]
        assert [ack.seq for ack in acks] == [1, 2, 3]
        assert (await stream.get_last_msg("SERVERS", "servers.kept.1")).data == b"1"
        assert client.max_payload == 1024 * 1024


async def test_nats_refuses_strangers_and_other_interfaces(module_nats_url: str) -> None:
    address = module_nats_url.rpartition("@")[2]

    async def quiet(_: Exception) -> None: ...

    with pytest.raises(nats.errors.Error, match="Authorization"):
        await nats.connect(f"nats://{address}", error_cb=quiet, allow_reconnect=False)
    port = int(address.rpartition(":")[2])
    listening = [
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and port in connection.laddr
    ]
    assert listening == [("127.0.0.1", port)]


async def test_nats_token_is_on_no_command_line_but_in_one_private_file(
    nats_server: BundledNats, tmp_path: Path
) -> None:
    assert nats_server.pid is not None
    assert nats_server.token not in " ".join(psutil.Process(nats_server.pid).cmdline())
    assert nats_server.token not in repr(nats_server)
    holding = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and nats_server.token.encode() in path.read_bytes()
    ]
    assert [path.name for path in holding] == ["nats-server.conf"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600


async def test_nats_comes_back_on_the_same_port_and_clients_find_it(
    nats_server: BundledNats,
) -> None:
    back = asyncio.Event()
    lost = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    async def disconnected() -> None:
        lost.set()

    async def quiet(_: Exception) -> None: ...

    async with await nats.connect(
        nats_server.url,
        reconnected_cb=reconnected,
        disconnected_cb=disconnected,
        error_cb=quiet,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
    ) as client:
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept"], storage=StorageType.FILE)
        await stream.publish("kept", b"before")
        url, pid = nats_server.url, nats_server.pid
        assert pid is not None

        os.kill(pid, signal.SIGKILL)
        assert await asyncio.wait_for(nats_server.wait(), 5) == -signal.SIGKILL
        while_down = nats_server.pid
        assert while_down is None
        await asyncio.wait_for(lost.wait(), 5)
        await nats_server.restart()

        await asyncio.wait_for(back.wait(), 10)
        assert nats_server.url == url
        assert nats_server.pid not in {None, pid}
        assert (await stream.get_last_msg("KEPT", "kept")).data == b"before"


async def test_nats_names_the_port_that_is_in_use(nats_server: BundledNats, tmp_path: Path) -> None:
    second = BundledNats(tmp_path / "second", port=nats_server.port)
    with pytest.raises(ConfigError, match=f"port {nats_server.port} .* is in use"):
        await second.start()
    assert second.pid is None


async def test_nats_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    server = BundledNats(tmp_path)
    streams = tmp_path / "jetstream"
    streams.write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match=f"cannot use {tmp_path}"):
        await server.start()
    assert server.pid is None

    streams.unlink()
    streams.mkdir()
    (streams / "jetstream").write_text("the same, one floor below")
    with pytest.raises(ControlRoomError, match=r"exit code 1(?s:.*)not a directory") as failed:
        await server.start()
    assert server.token not in str(failed.value)
    assert server.pid is None

    (streams / "jetstream").unlink()
    await server.start()
    await server.stop()


@pytest.mark.parametrize("token", ["short", 'a"quote-in-a-long-token', "$2a$11$looks-like-a-hash"])
def test_nats_refuses_tokens_that_its_configuration_could_misread(
    token: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="16 to 128 letters"):
        BundledNats(tmp_path, token=token)


# --- PostgreSQL --------------------------------------------------------------------------------


async def test_postgres_is_version_18_and_durable(postgres_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_dsn) as connection:
        cursor = await connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000,"
            " current_setting('fsync'), current_setting('synchronous_commit')"
        )
        assert await cursor.fetchone() == (18, "on", "on")


async def test_postgres_gives_each_test_an_empty_database(postgres_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_database) as connection:
        await connection.execute("CREATE TABLE word (text text PRIMARY KEY)")
        await connection.execute("INSERT INTO word VALUES ('ünïcode')")
        await connection.commit()
        cursor = await connection.execute("SELECT text FROM word")
        assert await cursor.fetchall() == [("ünïcode",)]
        tables = await connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        assert await tables.fetchall() == [("word",)]


def test_postgres_refuses_a_wrong_password(postgres_dsn: str) -> None:
    user, _, address = postgres_dsn.rpartition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{user}x@{address}")


def test_postgres_killed_keeps_what_was_committed(postgres_server: PostgresServer) -> None:
    url = postgres_server.url()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE word (text text PRIMARY KEY)")
        connection.execute("INSERT INTO word VALUES ('committed')")
    undecided = psycopg.connect(url)
    undecided.execute("INSERT INTO word VALUES ('undecided')")

    postgres_server.kill()
    while_down = postgres_server.pid
    assert while_down is None
    with pytest.raises(psycopg.OperationalError):
        undecided.commit()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)

    postgres_server.restart()
    assert postgres_server.url() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT text FROM word").fetchall() == [("committed",)]


# --- what they have in common --------------------------------------------------------------------

_NATS_PARENT = """
import asyncio, sys
from pathlib import Path
from api.nats_server import BundledNats

async def main():
    server = BundledNats(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
_POSTGRES_PARENT = """
import sys
from tests.servers.postgres import running_postgres

with running_postgres() as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("program", "name"), [(_NATS_PARENT, "nats-server"), (_POSTGRES_PARENT, "postgres")]
)
async def test_a_server_dies_with_its_parent(program: str, name: str, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    server = psutil.Process(int(await asyncio.wait_for(parent.stdout.readline(), 30)))
    assert server.name() == name
    assert server.ppid() == parent.pid
    family = [server, *server.children(recursive=True)]
    data = Path(server.cwd())

    parent.kill()
    await parent.wait()
    await eventually(
        lambda: not any(map(_runs, family)), within=10, what=f"{name} ends with its parent"
    )
    if name == "postgres":
        shutil.rmtree(data.parent)  # what the parent would have done


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
