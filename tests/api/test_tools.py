"""The tool servers through the doors: how they are, and what they have."""

from __future__ import annotations

from pathlib import Path

from actors.addresses import ToolAddress
from actors.tools.config import ToolServers
from tests.integration.test_tools_in_turns import servers
from tests.integration.tool_calls import configured, stubborn
from tests.rooms import local_room
from tests.waiting import eventually


async def test_servers_and_their_tools(tmp_path: Path) -> None:
    absent = configured("absent", {"url": "http://127.0.0.1:9/mcp", "headers": {"x": "${NO_KEY}"}})
    known = ToolServers(*servers(tmp_path).values(), absent)
    async with local_room(tmp_path, tool_servers=known) as room:
        before = (await room.http.get("/v1/tools")).json()["servers"]
        assert [(one["server"], one["type"], one["state"]) for one in before] == [
            ("stubborn", "stdio", "not started"),
            ("time", "stdio", "not started"),
            ("absent", "http", "not started"),
        ]
        assert before[2]["missing"] == ["NO_KEY"]
        await room.ensure(ToolAddress("time"))
        actor = room.tools["time"]
        await eventually(lambda: actor.listing().up, within=30, what="the server")
        (_, time, _) = (await room.http.get("/v1/tools")).json()["servers"]
        assert (time["state"], time["protocol"]) == ("up", "2026-07-28")
        assert time["implementation"].startswith("mcp-time ")
        assert [tool["name"] for tool in time["tools"]] == [
            "time__convert_time",
            "time__get_current_time",
        ]
        assert time["tools"][1]["tool"] == "get_current_time"
        assert time["tools"][1]["parameters"]["required"] == ["timezone"]


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    spec = stubborn(tmp_path).model_copy(update={"command": "no-such-command"})
    async with local_room(tmp_path, tool_servers=ToolServers(spec)) as room:
        await room.ensure(ToolAddress("stubborn"))
        actor = room.tools["stubborn"]
        await eventually(lambda: actor.listing().problem, within=30, what="the failure")
        (server,) = (await room.http.get("/v1/tools", params={"start": 5})).json()["servers"]
        assert (server["state"], server["tools"]) == ("down", [])
        assert "'no-such-command' of tool server 'stubborn' was not found" in server["problem"]


async def test_tools_that_are_left_out_are_told(tmp_path: Path) -> None:
    spec = stubborn(tmp_path, env={"WORDS": '{"leave": 20000}'})
    async with local_room(tmp_path, tool_servers=ToolServers(spec)) as room:
        await room.ensure(ToolAddress("stubborn"))
        actor = room.tools["stubborn"]
        await eventually(lambda: actor.listing().up, within=30, what="the server")
        (server,) = (await room.http.get("/v1/tools")).json()["servers"]
        assert server["left_out"] == ["'leave': its description has 20006 bytes, more than 16384"]
        assert "stubborn__leave" not in [tool["name"] for tool in server["tools"]]
