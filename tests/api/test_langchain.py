"""LangChain's client of OpenAI on the room: it needs to know nothing of rooms."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from api.client import RoomClient
from tests.rooms import LocalRoom, config


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"It rains in {city}."


class Verdict(BaseModel):
    """What is thought of something."""

    good: bool
    reason: str


def chat(room: LocalRoom, model: str, **more: Any) -> ChatOpenAI:
    given: dict[str, Any] = {
        "model": model,
        "base_url": f"{room.url}/openai/v1",
        "api_key": SecretStr("none"),
        **more,
    }
    return ChatOpenAI(**given)


async def test_a_room_is_invoked(shared: LocalRoom) -> None:
    async with RoomClient(shared.url) as http:
        await http.save_preset("chained", "room", config("x", "a b"))
    said = await chat(shared, "room/chained").ainvoke("What is a saga?")
    assert "**A (a)**" in said.text
    assert "**B (b)**" in said.text
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_tokens"] > 10
    assert said.response_metadata["finish_reason"] == "stop"


async def test_a_model_is_heard_as_it_speaks(shared: LocalRoom) -> None:
    model = chat(shared, "paced/steady", stream_usage=True)
    pieces = [piece async for piece in model.astream([HumanMessage("What is a saga?")])]
    assert len([piece for piece in pieces if piece.text]) > 5
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 5


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_tool_of_the_chain_is_called_by_the_chain(
    shared: LocalRoom, streaming: bool
) -> None:
    model = chat(shared, "paced/instant", streaming=streaming).bind_tools([weather])
    messages: list[Any] = [HumanMessage("Please call weather.")]
    asked = await model.ainvoke(messages)
    assert isinstance(asked, AIMessage)
    assert [call["name"] for call in asked.tool_calls] == ["weather"]
    result = await weather.ainvoke(asked.tool_calls[0])
    assert isinstance(result, ToolMessage)
    answer = await model.ainvoke([*messages, asked, result])
    assert isinstance(answer, AIMessage)
    assert not answer.tool_calls
    assert answer.text


async def test_an_answer_of_a_form(shared: LocalRoom) -> None:
    model = chat(shared, "paced/instant").with_structured_output(Verdict)
    verdict = await model.ainvoke("Is a saga good?")
    assert isinstance(verdict, Verdict)
    assert verdict.reason
