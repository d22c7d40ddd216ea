"""A whole room, as it is started on a machine: its turns, its doors, its ends and its refusals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from api.client import Delta, Event
from tests.live_room import LiveRoom, refused
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

PROVIDERS = ({"id": "brisk", "type": "rehearsal", "config": {"pace": 20}},)
SEATS = ("brisk/steady",) * 4 + ("brisk/instant",)
PATTERNS = ("broadcast", "coordinator", "round_robin", "voting")


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveRoom]:
    room = LiveRoom(tmp_path_factory.mktemp("room") / "home", PROVIDERS)
    await room.start()
    yield room
    await room.end()


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_a_turn_under_every_router_streams_and_replays(room: LiveRoom, pattern: str) -> None:
    more = {"coordinator": "p1"} if pattern == "coordinator" else {}
    await room.create(pattern, *SEATS, routing_pattern=pattern, **more)
    turn = await room.post(pattern, "Shall we keep events or states?")
    events: list[Event] = []
    shown: dict[str, str] = {}
    async with asyncio.timeout(120), aclosing(room.client.stream(pattern)) as stream:
        async for message in stream:
            if isinstance(message, Delta):
                assert message.seq == len(shown.get(message.step, ""))
                shown[message.step] = shown.get(message.step, "") + message.text
            else:
                events.append(message)
                if message.type == "turn.completed":
                    break
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    answers = {e.step: e.payload["text"] for e in events if e.type == "model.answered"}
    assert len(answers) == {"round_robin": 1, "voting": 10}.get(pattern, len(answers))
    if pattern == "broadcast":
        assert len(answers) == 5
    assert shown  # of an answer that was there before we listened there are no pieces
    assert shown.items() <= answers.items()
    assert events == await room.ended(pattern, turn)
    replayed = await room.client.replay(pattern)
    assert replayed["identical"] is True, replayed
    assert replayed["events"] == len(events)


async def test_nothing_of_a_room_listens_to_the_network(room: LiveRoom) -> None:
    open_ports = {
        (process.name(), connection.laddr.ip)
        for process in room.processes()
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert open_ports
    own = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    assert {port for port in open_ports if port[1] not in own} == set()


async def test_a_second_room_in_the_same_directory_is_refused(room: LiveRoom) -> None:
    code, said = await refused({**room.environment, "CONTROL_ROOM_PORT": "0"})
    assert code == 2
    assert f"a room runs in {room.home} already (process {room.pid('serve')})" in said
    assert len(said.strip().splitlines()) == 1
    assert (await room.client.session("broadcast"))["status"] == "active"


async def test_a_busy_port_is_refused_before_anything_is_started(
    room: LiveRoom, tmp_path: Path
) -> None:
    code, said = await refused({**room.environment, "CONTROL_ROOM_HOME": str(tmp_path)})
    assert code == 2
    assert f"port {room.port} on 127.0.0.1 cannot be used" in said
    assert "CONTROL_ROOM_PORT" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "nats").exists()


async def test_a_broken_provider_file_is_refused(room: LiveRoom, tmp_path: Path) -> None:
    (tmp_path / "providers.json").write_text('{"providers": [{"id": "a", "type": "oracle"}]}')
    environment = {"CONTROL_ROOM_HOME": str(tmp_path), "CONTROL_ROOM_PORT": "0"}
    code, said = await refused({**room.environment, **environment})
    assert code == 2
    assert "providers.json" in said
    assert "oracle" in said


async def test_ctrl_c_leaves_no_process_and_the_next_start_has_the_sessions(
    room: LiveRoom, tmp_path: Path
) -> None:
    before = await room.client.sessions()
    assert {one["id"] for one in before["sessions"]} >= set(PATTERNS)
    transcripts = {name: await room.client.transcript(name) for name in PATTERNS}
    waiting = await room.post("round_robin", "This one is open when the room stops.")
    said = await room.stop()
    assert said == [
        "Stopping the room ...",
        "The room has stopped. What was said in it is kept.",
    ]
    assert room.left() == []
    left = room.home / "room.db-wal"
    assert not left.exists() or left.stat().st_size == 0  # `room.db` has every event
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", room.port))

    await room.start()
    events = await room.ended("round_robin", waiting)
    assert events[-1].type == "turn.completed"

    async def projected() -> bool:
        page = await room.client.sessions()
        (one,) = (one for one in page["sessions"] if one["id"] == "round_robin")
        return bool(one["open_turn"] is None and one["turns"] == 2)

    await eventually(projected, within=60, what="yesterday's session in the list")
    for name in ("broadcast", "coordinator", "voting"):
        assert await room.client.transcript(name) == transcripts[name]
    await room.stop()
    await room.check(tmp_path)
