"""Tools of the room and tools of a client, in one answer at the door."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from actors.tools.config import ToolServers, ToolServerSpec
from tests.api.openai_door import ADD, client_of, turn_of
from tests.rooms import LocalRoom, local_room
from tests.servers import mcp_words

TALKER = {
    "id": "talker", "provider": "paced", "model_name": "steady", "tools": ["words"],
}  # fmt: skip


@pytest.fixture(scope="module")
async def equipped(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    """A room with a tool server, and a session of one who may use it."""
    folder: Path = tmp_path_factory.mktemp("equipped")
    spec = ToolServerSpec(name="words", command=sys.executable, args=(mcp_words.__file__,))
    async with local_room(folder, tool_servers=ToolServers(spec)) as room:
        created = await room.http.post(
            "/v1/sessions", json={"session_id": "words", "models": [TALKER]}
        )
        assert created.status_code == 201
        yield room


@pytest.fixture
async def client(equipped: LocalRoom) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(equipped) as client:
        yield client


def saying(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("model", ["session/words", "session/words/talker"])
async def test_the_room_calls_its_own_tools(
    equipped: LocalRoom, client: AsyncOpenAI, model: str
) -> None:
    messages = saying('use words__shout {"text": "ahoy"}')
    done = await client.chat.completions.create(model=model, messages=messages)
    choice = done.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.tool_calls is None
    assert "AHOY" in str(choice.message.content)
    place = done.control_room  # type: ignore[attr-defined]
    events = await equipped.http.get(f"/v1/sessions/{place['session']}/events?limit=1000")
    answered = [
        e["data"]["payload"]["usage"]["output"]
        for e in events.json()["events"]
        if e["type"] == "model.answered" and e["data"]["turn"] == place["turn"]
    ]
    assert len(answered) == 2
    assert done.usage is not None
    assert done.usage.completion_tokens == sum(answered)


async def test_what_is_said_before_a_call_is_heard_before_the_answer(
    equipped: LocalRoom, client: AsyncOpenAI
) -> None:
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="session/words/talker",
            messages=saying('use words__shout {"text": "land ho"}'),
            stream=True,
        )
    ]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    answer = (await turn_of(equipped, chunks[-1]))["answer"]
    assert "LAND HO" in answer
    assert text == f"In this rehearsal I call words__shout.\n\n{answer}"


async def test_a_client_offers_its_tools_beside_those_of_the_room(client: AsyncOpenAI) -> None:
    messages = saying('use words__shout {"text": "aye"} then use add {"a": 1, "b": 2}')
    done = await client.chat.completions.create(
        model="session/words/talker", messages=messages, tools=[ADD]
    )
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    names = [call.function.name for call in choice.message.tool_calls]  # type: ignore[union-attr]
    assert names == ["add"]


async def test_a_client_that_wants_a_call_gets_one_of_a_tool_of_its_own(
    client: AsyncOpenAI,
) -> None:
    last: Any = {"type": "function", "function": {"name": "zoom"}}  # behind those of the room
    done = await client.chat.completions.create(
        model="session/words/talker",
        messages=saying("Hello"),
        tools=[last],
        tool_choice="required",
    )
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    names = [call.function.name for call in choice.message.tool_calls]  # type: ignore[union-attr]
    assert names == ["zoom"]
