"""The bundled NATS server is real, private, and comes back for its clients."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path

import nats
import psutil
import pytest
from nats.aio.msg import Msg
from nats.js.api import StorageType

from api.nats_server import BundledNats
from events.errors import ConfigError, ControlRoomError


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
        assert await asyncio.wait_for(nats_server.wait(), 20) == -signal.SIGKILL
        while_down = nats_server.pid
        assert while_down is None
        await asyncio.wait_for(lost.wait(), 20)
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
