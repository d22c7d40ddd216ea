"""Tools in a session's turns: offered by their servers, called once, and lost at most once."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from actors import conductor, subjects
from actors.addresses import Address, ToolAddress
from actors.bus import Msg
from actors.messages import CallTool
from actors.tools.config import ToolServers
from events.errors import ControlRoomError
from events.tools import (
    ElicitationRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolReturned,
)
from events.types import TurnQueued, TurnStarted
from events.values import Blob
from tests.commands import run
from tests.integration.test_tool_faults import said
from tests.integration.tool_calls import configured, stubborn
from tests.rooms import LocalRoom, local_room
from tests.sound_log import assert_sound
from tests.waiting import eventually

SCRIPT = """
async def route(turn):
    name, arguments = turn.message.removeprefix("leave ").split(" ", 1)
    call = turn.call(name, json.loads(arguments))
    if turn.message.startswith("leave "):
        return "left"
    said = await call
    return getattr(said, "text", None) or f"{said.error}: {said.message}"
"""


def servers(folder: Path, **options: Any) -> ToolServers:
    time = {"command": str(Path(sys.executable).parent / "mcp-server-time")}
    return ToolServers(stubborn(folder, **options), configured("time", time))


async def calling_room(room: LocalRoom, *grants: Any) -> None:
    """A session whose router calls the tool that a message names."""
    room.settings.scripts_path.mkdir(exist_ok=True)
    (room.settings.scripts_path / "call.py").write_text(f"import json\n{SCRIPT}")
    await room.create("s1", "a", routing_pattern="script", script="call:route", **seats(*grants))


def seats(*grants: Any) -> dict[str, Any]:
    seat = {"id": "a", "provider": "paced", "model_name": "instant", "role": "A"}
    return {"models": [{**seat, "tools": list(grants)}]}


def text(done: dict[str, Any]) -> str:
    assert done["status"] == "completed", done
    return str(done["answer"])


async def happened(room: LocalRoom, kind: type[Any]) -> list[Any]:
    return [event.data for event in await room.store.read("s1") if isinstance(event.data, kind)]


async def test_a_turn_calls_the_tools_of_two_servers(tmp_path: Path) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "mcp:stubborn", "time:convert_time")
        done = await room.post("s1", 'stubborn__echo {"message": "Hello"}', wait=30)
        assert text(done) == "Hello"
        times = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        done = await room.post("s1", f"time__convert_time {json.dumps(times)}", wait=30)
        assert "T21:00:00+09:00" in text(done)
        done = await room.post("s1", 'time__get_current_time {"timezone": "UTC"}', wait=30)
        assert "there is no tool 'time__get_current_time'" in text(done)
        (started, *_) = await happened(room, TurnStarted)
        facts = json.loads(room.blobs.get(started.facts))["a"]["tools"]
        assert facts["calls"]["time__convert_time"] == {
            "server": "time",
            "tool": "convert_time",
            "approval": False,
        }
        offered = json.loads(room.blobs.get(Blob.model_validate(facts["offered"])))
        names = [each["name"] for each in offered]
        assert names == sorted(names) == list(facts["calls"])
        assert names[-1] == "time__convert_time"
        assert offered[-1]["parameters"]["required"] == [
            "source_timezone",
            "time",
            "target_timezone",
        ]
        stubborn, time = await happened(room, ToolReturned)
        assert (stubborn.protocol, stubborn.implementation) == ("2025-11-25", "stubborn 1")
        assert (time.protocol, time.implementation) == ("2026-07-28", "mcp-time 2026.10.19")
        await assert_sound(room.store, room.blobs, {})


async def test_a_tool_that_dies_or_is_lost_fails_and_the_session_goes_on(tmp_path: Path) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        done = await room.post("s1", "stubborn__die {}", wait=30)
        assert text(done).startswith("ToolLost: the connection to tool server")
        posted = await room.post("s1", "stubborn__hang {}")
        await eventually(lambda: said(tmp_path, "called")[-1] == "hang", within=20, what="it")
        tools, room.tools = room.tools, {}
        for actor in tools.values():  # it says nothing any more, as when its process is killed
            await actor.stop(within=0.0)

        async def failed() -> bool:
            return len(await happened(room, ToolFailed)) == 2

        await eventually(failed, within=20, what="the failure")
        lost = (await happened(room, ToolFailed))[-1]
        assert (lost.error, lost.unheard, lost.retryable) == ("ToolLost", True, False)
        done = await room.post("s1", 'stubborn__echo {"message": "on"}', wait=30)
        assert text(done) == "on"
        assert said(tmp_path, "called") == ["die", "hang", "echo"]
        assert posted["turn"] == "t2"


async def test_a_call_goes_on_while_its_router_starts_again(tmp_path: Path) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        await room.post("s1", "stubborn__asks {}")

        async def asked() -> bool:
            return len(await happened(room, ElicitationRequested)) == 1

        await eventually(asked, within=20, what="the question")
        await room.stop_router()
        await room.start_router()
        (question,) = await happened(room, ElicitationRequested)
        answer = await room.http.post(
            "/v1/sessions/s1/turns/t1/steps/call:stubborn__asks:1/answer",
            json={"question": question.id, "action": "accept", "content": {"colour": "blue"}},
        )
        assert answer.status_code < 300, answer.text

        async def returned() -> bool:
            return len(await happened(room, ToolReturned)) == 1

        await eventually(returned, within=20, what="the result")
        (result,) = await happened(room, ToolReturned)
        assert json.loads(result.text) == {"action": "accept", "content": {"colour": "blue"}}
        assert said(tmp_path, "called") == ["asks"]


async def test_a_cancelled_turn_cancels_the_call_on_the_server(tmp_path: Path) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        await room.post("s1", "stubborn__hang {}")
        await eventually(lambda: said(tmp_path, "called"), within=20, what="the call")
        await room.http.post("/v1/sessions/s1/turns/t1/cancel")
        await eventually(lambda: said(tmp_path, "cancelled"), within=20, what="its end")
        assert len(await happened(room, ToolCancelled)) == 1


async def test_a_call_that_is_called_off_at_once_is_not_sent_for_the_next_turn(
    tmp_path: Path,
) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        message, sent = 'stubborn__echo {"message": "once"}', []

        def take(msg: Msg) -> None:
            sent.append(CallTool.model_validate_json(msg.data).turn)

        await room.models_bus.subscribe(subjects.tool_server("stubborn"), take)
        assert text(await room.post("s1", message, wait=30)) == "once"
        await room.http.post("/v1/sessions/s1/pause")
        await room.post("s1", f"leave {message}")
        last = asyncio.create_task(room.post("s1", message, wait=30))

        async def queued() -> bool:
            return len(await happened(room, TurnQueued)) == 2

        await eventually(queued, within=20, what="both turns behind the pause")
        await room.http.post("/v1/sessions/s1/resume")
        assert text(await last) == "once"
        assert [len(await happened(room, kind)) for kind in (ToolCalled, ToolCancelled)] == [3, 1]
        assert sent == ["t1", "t3"]


async def test_unknown_servers_and_tools_are_refused_by_name(tmp_path: Path) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        for grant, why in (
            ("files", "tool server 'files' is not configured"),
            ("files:read", "use one of stubborn, time"),
        ):
            answer = await room.http.post("/v1/sessions", json={"session_id": "s", **seats(grant)})
            assert answer.status_code == 422, answer.text
            assert why in answer.text
        await calling_room(room, "time")
        await room.post("s1", 'time__get_current_time {"timezone": "UTC"}', wait=30)
        answer = await room.http.post("/v1/sessions", json={"session_id": "s", **seats("time:no")})
        assert answer.status_code == 422
        assert "has no tool 'no': use one of get_current_time, convert_time" in answer.text


async def test_a_server_that_does_not_start_is_named_where_a_turn_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = configured("broken", {"command": sys.executable, "args": ["-c", "exit('no luck')"]})
    async with local_room(tmp_path, tool_servers=ToolServers(broken)) as room:
        await room.create("s1", "a", **seats("broken"))
        answer = await room.http.post("/v1/sessions/s1/turns", json={"content": "Hello"})
        assert answer.status_code == 503, answer.text
        assert "the tools of server 'broken' are not known yet" in answer.text
        assert "no luck" in answer.text
        assert "; nothing was done: send the same request again later" in answer.json()["detail"]
        assert "may or may not" not in answer.text
        told = await run(room, "chat", "s1", "-m", "Hello")
        assert told.code == 1
        assert "nothing was done: look with 'control-room tools', and try again" in told.err
        assert await happened(room, TurnStarted) == []


async def test_a_server_that_is_not_up_yet_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_room(tmp_path, tool_servers=ToolServers(stubborn(tmp_path))) as room:

        async def later(address: Address) -> None:
            """It is not started yet."""

        monkeypatch.setattr(room, "ensure", later)
        done = await run(room, "tools", "--start", "0.1")
        assert done.code == 1
        assert "control-room: stubborn is still starting: ask again in a moment\n" in done.err


async def test_what_was_listed_is_offered_while_its_server_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        assert text(await room.post("s1", 'stubborn__echo {"message": "one"}', wait=30)) == "one"
        await room.stop_tools()

        async def nobody(address: Address) -> None:
            raise ControlRoomError(f"there is no {address} to be had", retryable=True)

        monkeypatch.setattr(room, "ensure", nobody)
        done = await room.post("s1", 'stubborn__echo {"message": "two"}', wait=30)
        assert text(done).startswith("ToolLost: nothing was heard of the call")
        assert said(tmp_path, "called") == ["echo"]


async def test_a_server_that_does_not_come_up_holds_up_no_turn_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, ensure = asyncio.Event(), LocalRoom.ensure

    async def in_time(room: LocalRoom, address: Address) -> None:
        if address == ToolAddress("time"):
            await up.wait()
        await ensure(room, address)

    monkeypatch.setattr(LocalRoom, "ensure", in_time)
    monkeypatch.setattr(conductor, "WITHIN", 3600.0)
    async with local_room(tmp_path, tool_servers=servers(tmp_path)) as room:
        await calling_room(room, "stubborn")
        await room.post("s1", "stubborn__asks {}")
        granted = await room.http.patch("/v1/sessions/s1", json=seats("stubborn", "time"))
        assert granted.status_code == 200, granted.text
        queued = await room.post("s1", 'time__get_current_time {"timezone": "UTC"}')
        assert queued["status"] == "queued"
        for command in ("pause", "resume"):
            done = await room.http.post(f"/v1/sessions/s1/{command}")
            assert done.status_code == 200, done.text

        async def asked() -> bool:
            return len(await happened(room, ElicitationRequested)) == 1

        await eventually(asked, within=20, what="the question")
        url = "/v1/sessions/s1/turns/t1/steps/call:stubborn__asks:1/answer"
        content = {"action": "accept", "content": {"colour": "blue"}}
        answered = await room.http.post(url, json=content)
        assert answered.status_code == 200, answered.text
        up.set()

        async def returned() -> bool:
            return len(await happened(room, ToolReturned)) == 2

        await eventually(returned, within=30, what="the result of the queued turn's call")
