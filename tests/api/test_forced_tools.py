"""A client at the door that wants one of its own tools to be called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from openai import AsyncOpenAI

from actors.providers.config import ProviderSpec
from tests.api.openai_door import ADD, HELLO, client_of, events_of, replays
from tests.api.test_langchain import Verdict, chat, weather
from tests.rooms import LocalRoom, local_room
from tests.servers.chat import ChatServer, whole
from tests.servers.scripted import listening

SAY: Any = {
    "type": "function",
    "function": {
        "name": "say",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}
NAMED: Any = {"type": "function", "function": {"name": "say"}}
TOOLS: Any = [SAY, ADD]


async def asked_in(room: LocalRoom, done: Any) -> list[tuple[str | None, list[str]]]:
    """Of each question: whether a call was wanted, and the tools that were offered."""
    session = done.control_room["session"]
    assert await replays(room, session)
    found = []
    for asked in await events_of(room, session, "model.asked"):
        blob = await room.http.get(f"/v1/blobs/{asked['tools']['sha256']}")
        found.append((asked["tool_choice"], [one["name"] for one in blob.json()]))
    return found


def calls_of(done: Any) -> list[str]:
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    return [call.function.name for call in choice.message.tool_calls]


@pytest.mark.parametrize(
    ("choice", "called", "offered"),
    [("required", "add", ["add", "say"]), (NAMED, "say", ["say"])],
    ids=["required", "named"],
)
async def test_a_call_that_is_wanted_is_made_and_what_comes_after_it_is_free(
    shared: LocalRoom, client: AsyncOpenAI, choice: Any, called: str, offered: list[str]
) -> None:
    done = await client.chat.completions.create(
        model="paced/instant", messages=HELLO, tools=TOOLS, tool_choice=choice
    )
    assert calls_of(done) == [called]
    assert await asked_in(shared, done) == [("required", offered)]
    said: Any = done.choices[0].message
    result: Any = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "42"}
    again = await client.chat.completions.create(
        model="paced/instant", messages=[*HELLO, said, result], tools=TOOLS
    )
    assert again.choices[0].finish_reason == "stop"
    assert again.choices[0].message.content
    assert await asked_in(shared, again) == [(None, ["add", "say"])]


async def test_a_stream_has_the_call_too(client: AsyncOpenAI) -> None:
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="paced/instant", messages=HELLO, tools=TOOLS, tool_choice=NAMED, stream=True
        )
    ]
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [call.function.name for call in calls if call.function] == ["say"]


async def test_without_tools_nothing_can_be_wanted(client: AsyncOpenAI) -> None:
    done = await client.chat.completions.create(
        model="paced/instant", messages=HELLO, tool_choice="required"
    )
    assert done.choices[0].finish_reason == "stop"


async def test_the_wish_reaches_the_model_as_its_api_has_it(tmp_path: Path) -> None:
    server = ChatServer()
    async with listening(server):
        spec = ProviderSpec(id="served", type="openai", config={"base_url": f"{server.url}/v1"})
        async with local_room(tmp_path, spec) as room, client_of(room) as client:
            server.reply(*whole("Yes."))
            await client.chat.completions.create(
                model="served/m", messages=HELLO, tools=TOOLS, tool_choice=NAMED
            )
    body = server.requests[-1].body
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["say"]
    assert body["messages"] == HELLO, "nothing is said of it in words"


async def test_an_agent_of_langchain_ends_in_the_form_that_it_wants(shared: LocalRoom) -> None:
    """It wants a call in every round, of which one is its answer."""
    agent: Any = create_agent(
        chat(shared, "paced/instant"), [weather], response_format=ToolStrategy(Verdict)
    )
    said = await agent.ainvoke({"messages": HELLO}, {"recursion_limit": 12})
    assert isinstance(said["structured_response"], Verdict)
