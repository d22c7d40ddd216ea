"""Tools in a whole room on Ray: models call them, and each process of theirs may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.client import Event
from tests.integration.test_tool_faults import gone, said
from tests.integration.tool_calls import STUBBORN
from tests.live_room import READY_WITHIN, ROOT, LiveRoom
from tests.servers.npm_servers import server
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(2 * READY_WITHIN)


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveRoom]:
    room = LiveRoom(tmp_path_factory.mktemp("live") / "home")
    node, everything = server("everything")
    tools = {
        "everything": {"command": node, "args": [everything, "stdio"]},
        "stubborn": {"command": sys.executable, "args": [str(STUBBORN), str(room.home)]},
        "time": {"command": str(Path(sys.executable).parent / "mcp-server-time")},
    }
    (room.home / "tools.json").write_text(json.dumps({"mcpServers": tools}))
    await room.start()
    yield room
    await room.end()


async def create(room: LiveRoom, session: str) -> None:
    grants = ["everything:echo", "everything:trigger-long-running-operation", "stubborn", "time"]
    seat = {"id": "ada", "provider": "rehearsal", "model_name": "instant", "role": "Ada"}
    seats = [{**seat, "tools": grants}, {**seat, "id": "ben", "role": "Ben"}]
    await room.client.create_session({"session_id": session, "models": seats})

    async def up() -> bool:
        found = await room.client.tools()
        return all(one["state"] == "up" for one in found["servers"])

    await eventually(up, within=READY_WITHIN, what="the tool servers")


def of(events: list[Event], kind: str, turn: str) -> list[dict[str, Any]]:
    return [dict(event.payload) for event in events if (event.type, event.turn) == (kind, turn)]


async def test_a_model_calls_the_tools_of_two_servers(room: LiveRoom) -> None:
    await create(room, "two")
    times = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    turn = await room.post(
        "two",
        'Please use everything__echo {"message": "Hello"} and'
        f" use time__convert_time {json.dumps(times)}",
    )
    events = await room.ended("two", turn)
    assert events[-1].type == "turn.completed"
    returned = {each["implementation"]: each for each in of(events, "tool.returned", turn)}
    assert set(returned) == {"mcp-servers/everything 2.0.0", "mcp-time 2026.10.19"}
    assert returned["mcp-servers/everything 2.0.0"]["text"] == "Echo: Hello"
    assert {each["protocol"] for each in returned.values()} == {"2025-11-25", "2026-07-28"}
    assert len(of(events, "model.asked", turn)) == 3  # one of the two models, twice
    found = await room.client.tools()
    assert {one["server"]: one["state"] for one in found["servers"]} == {
        "everything": "up",
        "stubborn": "up",
        "time": "up",
    }
    replay = await room.client.replay("two")
    assert replay["identical"], replay


async def test_a_program_killed_during_a_call(room: LiveRoom) -> None:
    await create(room, "program")
    arguments = '{"duration": 300, "steps": 3000}'
    turn = await room.post("program", f"use everything__trigger-long-running-operation {arguments}")
    await room.hear("program", "call:everything__trigger-long-running-operation:1")
    (program,) = children(room.pid("tools-everything-0"))
    program.kill()
    events = await room.ended("program", turn)
    (failed,) = of(events, "tool.failed", turn)
    assert (failed["error"], failed["unheard"]) == ("ToolLost", False)
    assert events[-1].type == "turn.completed"
    turn = await room.post("program", 'use everything__echo {"message": "Again"}')
    events = await room.ended("program", turn)
    assert [each["text"] for each in of(events, "tool.returned", turn)] == ["Echo: Again"]


async def test_the_actor_of_a_tool_server_killed_during_a_call(room: LiveRoom) -> None:
    await create(room, "actor")
    turn = await room.post("actor", "use stubborn__leave {}")
    await room.ended("actor", turn)
    left = psutil.Process(int(said(room.home, "left")[0]))
    (program,) = children(room.pid("tools-stubborn-0"))
    turn = await room.post("actor", "use stubborn__hang {}")
    await eventually(lambda: said(room.home, "called")[-1] == "hang", within=60, what="the call")
    old = room.pid("tools-stubborn-0")
    os.kill(old, signal.SIGKILL)
    events = await room.ended("actor", turn)
    (failed,) = of(events, "tool.failed", turn)
    assert (failed["error"], failed["unheard"]) == ("ToolLost", True)
    assert events[-1].type == "turn.completed"
    assert said(room.home, "called").count("hang") == 1
    await eventually(lambda: gone(program), within=30, what="the end of the program")
    await room.back("tools-stubborn-0", old)
    await eventually(lambda: gone(left), within=60, what="the end of what it had started")
    turn = await room.post("actor", 'use stubborn__echo {"message": "Back"}')
    events = await room.ended("actor", turn)
    assert [each["text"] for each in of(events, "tool.returned", turn)] == ["Back"]


async def test_the_command_line_lists_them(room: LiveRoom) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", "tools", "--json"),
        cwd=ROOT,
        env=room.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    shown, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    servers = {each["server"]: each for each in json.loads(shown)["servers"]}
    assert [tool["tool"] for tool in servers["time"]["tools"]] == [
        "convert_time",
        "get_current_time",
    ]


async def test_nothing_of_them_is_left(room: LiveRoom, tmp_path: Path) -> None:
    programs = [
        program
        for name in ("everything", "stubborn", "time")
        for program in children(room.pid(f"tools-{name}-0"))
    ]
    assert len(programs) == 3
    await room.stop()  # which looks whether anything is left
    assert all(gone(program) for program in programs)
    assert await room.check(tmp_path) > 0


def children(pid: int) -> list[psutil.Process]:
    """The programs that an actor of a tool server has started."""
    return [child for child in psutil.Process(pid).children() if "mcp" in " ".join(child.cmdline())]
