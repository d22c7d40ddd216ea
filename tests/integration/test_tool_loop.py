"""Models that call tools before they answer: whole rooms, real tool servers, forms of vendors.

Each room's log is sound afterwards, and replays.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.providers.config import ProviderSpec
from actors.providers.port import Image
from actors.tools.config import ToolServers
from events.tools import ToolRefused, ToolReturned
from events.types import ModelAnswered, ModelAsked
from events.values import ToolCall
from tests.contract.every_provider import answer
from tests.integration.tool_calls import configured, stubborn
from tests.rooms import LocalRoom, local_room
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import KEY, MODEL, Dialect, Round
from tests.servers.dialects.ollama import OllamaDialect, shown
from tests.servers.llama import LlamaServer
from tests.servers.mcp_camera import PICTURE
from tests.servers.scripted import ScriptedServer, listening
from tests.sound_log import assert_sound

CAMERA = Path(__file__).parents[1] / "servers" / "mcp_camera.py"


@asynccontextmanager
async def room_with(folder: Path, *specs: ProviderSpec) -> AsyncIterator[LocalRoom]:
    """A room with three tool servers, whose log is sound in the end."""
    servers = ToolServers(
        stubborn(folder),
        configured("time", {"command": str(Path(sys.executable).parent / "mcp-server-time")}),
        configured("camera", {"command": sys.executable, "args": [str(CAMERA)]}),
    )
    environment = {"KEY": KEY}
    async with local_room(folder, *specs, tool_servers=servers, environment=environment) as room:
        yield room
        await assert_sound(room.store, room.blobs, {})


async def ask(room: LocalRoom, text: str, *grants: Any, **seat: Any) -> dict[str, Any]:
    """The completed turn of a participant with those tools."""
    model = {"provider": "paced", "model_name": "instant", **seat}
    await room.create("s1", "a", models=[{"id": "a", "tools": list(grants), **model}])
    done: dict[str, Any] = await room.post("s1", text, wait=40)
    assert done["status"] == "completed", done
    return done


async def happened(room: LocalRoom, kind: type[Any]) -> list[Any]:
    return [event.data for event in await room.store.read("s1") if isinstance(event.data, kind)]


async def test_a_model_calls_several_tools_of_two_servers_and_answers_with_what_they_gave(
    tmp_path: Path,
) -> None:
    times = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    async with room_with(tmp_path) as room:
        done = await ask(
            room,
            'use stubborn__echo {"message": "one"} and use stubborn__echo {"message": "two"},'
            f" then use time__convert_time {json.dumps(times)}",
            "stubborn:echo",
            "mcp:time",
        )
        first, second, third = done["answer"].split("\n\n", 3)[1:4]
        assert (first, second) == (
            "stubborn__echo returned: one",
            "stubborn__echo returned: two",
        )
        assert "T21:00:00+09:00" in third
        assert [one.continues for one in await happened(room, ModelAsked)] == [
            None,
            "ask:a:1",
            "ask:a:2",
        ]
        assert len(await happened(room, ToolReturned)) == 3
        [entry] = done["answers"]
        assert entry["participant"] == "a"


async def test_a_call_that_cannot_be_made_is_told_to_the_model(tmp_path: Path) -> None:
    async with room_with(tmp_path) as room:
        done = await ask(
            room,
            "use stubborn__echo {} and use stubborn__gone {} and use stubborn__die {}",
            "stubborn",
        )
        lines = done["answer"].split("\n\n")[1:]
        assert all(": Error: " in line for line in lines)
        assert "'message'" in lines[0]
        assert "there is no tool 'stubborn__gone'" in lines[1]
        assert "connection to tool server" in lines[2]
        assert len(await happened(room, ToolRefused)) == 1


async def test_signed_thinking_goes_through_the_log_and_back_to_its_model(tmp_path: Path) -> None:
    dialect = AnthropicDialect()
    call = ToolCall(id="toolu_1", name="stubborn__echo", arguments='{"message":"hi"}')
    calling = [*dialect.begin(), dialect.thought("Let me see."), *dialect.calls(call)]
    async with (
        (
            scripted(
                dialect, [*calling, *dialect.end("tool_calls")], answer(dialect, "It said hi.")
            )
        ) as (server, spec),
        room_with(tmp_path, spec) as room,
    ):
        done = await ask(room, "Hello", "stubborn:echo", provider="fake", model_name=MODEL)
        assert done["answer"] == "It said hi."
        first, second = [request.body for request in server.requests]
        assert dialect.tool_of(first).name == "stubborn__echo"
        assert dialect.rounds(second) == [
            Round("", (("stubborn__echo", {"message": "hi"}),), ("hi",))
        ]
        signed = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
        assert second["messages"][1]["content"][0] == signed
        answers = await happened(room, ModelAnswered)
        assert json.loads(answers[0].carried)[0] == signed
        assert answers[1].carried is None


async def test_a_picture_that_a_tool_took_is_shown_to_a_model_that_sees(tmp_path: Path) -> None:
    body = await second_round(tmp_path, ChatDialect(), "snap")
    *_, result, pictures = body["messages"]
    assert result["content"].startswith("a cat\n\n[Attached image: ")
    [_, image] = pictures["content"]
    assert image["image_url"]["url"] == Image("image/png", PICTURE).url


async def test_a_model_that_does_not_see_is_told_of_a_picture(tmp_path: Path) -> None:
    body = await second_round(tmp_path, OllamaDialect(), "snap", able=("completion", "tools"))
    assert body["messages"][-1]["content"].startswith("a cat\n\n[")
    assert "[Image left out: " in body["messages"][-1]["content"]
    assert "images" not in body["messages"][-1]


async def test_what_is_no_picture_for_models_is_told_of(tmp_path: Path) -> None:
    body = await second_round(tmp_path, ChatDialect(), "sketch")
    assert "image/svg+xml, 6 bytes]" in body["messages"][-1]["content"]


async def second_round(
    folder: Path, dialect: Dialect, tool: str, able: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The request after a call of that tool of the camera."""
    call = ToolCall(id="call_1", name=f"camera__{tool}", arguments="{}")
    calling = [*dialect.begin(), *dialect.calls(call), *dialect.end("tool_calls")]
    async with (
        scripted(dialect, calling, answer(dialect, "I see.")) as (server, spec),
        room_with(folder, spec) as room,
    ):
        if able:
            server.pages["/api/show"] = shown(able=able)
        done = await ask(room, "Look", "camera", provider="fake", model_name=MODEL)
        assert done["answer"] == "I see."
        return server.requests[1].body


@asynccontextmanager
async def scripted(
    dialect: Dialect, *replies: list[bytes]
) -> AsyncIterator[tuple[ScriptedServer, ProviderSpec]]:
    """A server that replies so, and a provider `fake` for it."""
    server = ScriptedServer(dialect.pages())
    for steps in replies:
        server.reply(*steps, content_type=dialect.content_type)
    async with listening(server):
        yield server, ProviderSpec(id="fake", type=dialect.type, config=dialect.config(server.url))


async def test_a_real_model_that_is_made_to_calls_a_real_tool_and_goes_on(
    tmp_path: Path, llama_server: LlamaServer
) -> None:
    spec = ProviderSpec(id="local", type="openai", config={"base_url": llama_server.base_url})
    async with room_with(tmp_path, spec) as room:
        done = await ask(
            room,
            "What did they say?",
            "stubborn:progress",
            provider="local",
            model_name="tiny",
            max_tokens=200,
            seed=3,
            tool_rounds=1,
            extra={"tool_choice": "required"},
        )
        first, last = await happened(room, ModelAnswered)
        assert {call.name for call in first.tool_calls} == {"stubborn__progress"}
        assert len(await happened(room, ToolReturned)) == len(first.tool_calls)
        assert last.tool_calls == ()
        assert done["answer"] == last.text
