"""Requests with calls and results are what the vendors' own clients declare that they take.

And servers that take no tools: the conversation goes to them in words.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anthropic.types
import ollama
import openai.types.chat
import openai.types.responses
import pytest
from pydantic import TypeAdapter

from actors.providers.port import ChatMessage
from events.errors import ProviderError
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen
from tests.contract.test_every_provider_tools import CHAIN, TOOL
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import MODEL, PICTURE, Dialect
from tests.servers.dialects.ollama import OllamaDialect, shown
from tests.servers.dialects.responses import ResponsesDialect

SEEN = (*CHAIN[:2], replace(CHAIN[2], images=(PICTURE,)), *CHAIN[3:])
LAST = replace(ASKED, messages=SEEN, tools=(TOOL,), tool_choice="none")


async def body_of(dialect: Dialect) -> dict[str, Any]:
    """What is sent for the last round of `CHAIN`, with a picture in its first result."""
    async with serving(dialect, *answer(dialect, "Yes.")) as (server, provider):
        await listen(provider, LAST)
        return server.requests[0].body


def declared(type: Any, value: Any) -> None:
    """Fails where the value is not of the type."""
    TypeAdapter(type).validate_python(value)


async def test_chat_completions() -> None:
    body = await body_of(ChatDialect())
    declared(list[openai.types.chat.ChatCompletionMessageParam], body["messages"])
    declared(list[openai.types.chat.ChatCompletionToolParam], body["tools"])
    declared(openai.types.chat.ChatCompletionToolChoiceOptionParam, body["tool_choice"])
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "assistant", "tool"]


async def test_responses() -> None:
    body = await body_of(ResponsesDialect())
    declared(list[openai.types.responses.ResponseInputItemParam], body["input"])
    declared(list[openai.types.responses.FunctionToolParam], body["tools"])
    assert body["tool_choice"] == "none"


async def test_anthropic() -> None:
    body = await body_of(AnthropicDialect())
    declared(list[anthropic.types.MessageParam], body["messages"])
    declared(list[anthropic.types.ToolParam], body["tools"])
    declared(anthropic.types.ToolChoiceParam, body["tool_choice"])


async def test_ollama() -> None:
    body = await body_of(OllamaDialect())
    for message in body["messages"]:
        images = [ollama.Image(value=each) for each in message.pop("images", ())]
        taken = ollama.Message(**message, images=images)
        assert taken.tool_name == message.get("tool_name")
    assert "tools" not in body


# --- servers without -----------------------------------------------------------------------------


def refusal(message: str, param: str | None = None) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return json.dumps({"error": error}).encode()


async def test_a_model_that_takes_no_tools_is_told_in_words_what_was_called() -> None:
    dialect = ChatDialect()
    no = refusal(f"'tools' is not supported with {MODEL}", "tools")
    async with serving(dialect, no, status=400) as (server, provider):
        server.reply(*answer(dialect, "Yes."))
        for _ in range(2):
            answered = await listen(provider, replace(ASKED, messages=CHAIN, tools=(TOOL,)))
            assert any(note.startswith("tools: not taken") for note in answered.end.notes)
        first, *others = [request.body for request in server.requests]
        assert "tools" in first
        for body in others:
            assert body.keys().isdisjoint(("tools", "tool_choice"))
            assert body["messages"] == [
                {"role": "user", "content": "Where?"},
                {
                    "role": "assistant",
                    "content": "Let me look."
                    '\n\n[I call look_up with {"at":"cat"}]'
                    '\n\n[I call look_up with {"at":"Zürich"}]',
                },
                {
                    "role": "user",
                    "content": "[What look_up returned]\nOn the mat."
                    "\n\n[What look_up returned]\nError: no such place",
                },
                {"role": "assistant", "content": '[I call look_up with {"at":"bird"}]'},
                {"role": "user", "content": "[What look_up returned]\nGone."},
            ]
        assert not provider.capabilities(MODEL).tools


async def test_a_model_that_ollama_says_takes_no_tools_is_told_in_words_at_once() -> None:
    dialect = OllamaDialect()
    async with serving(dialect, *answer(dialect, "Yes.")) as (server, provider):
        server.pages["/api/show"] = shown(able=("completion",))
        answered = await listen(provider, replace(ASKED, messages=CHAIN, tools=(TOOL,)))
        assert any(note.startswith("tools: not taken") for note in answered.end.notes)
        body = server.requests[0].body
        assert "tools" not in body
        assert [message["role"] for message in body["messages"]] == ["user", "assistant"] * 2 + [
            "user"
        ]


async def test_a_model_without_a_choice_of_tools_keeps_the_tools() -> None:
    dialect = ChatDialect()
    no = refusal("Unsupported parameter: 'tool_choice'", "tool_choice")
    async with serving(dialect, no, status=400) as (server, provider):
        server.reply(*answer(dialect, "Yes."))
        answered = await listen(provider, LAST)
        assert "tool_choice: not taken by this model" in answered.end.notes
        assert "tools" in server.requests[1].body
        assert "tool_choice" not in server.requests[1].body
        assert provider.capabilities(MODEL).tools


@pytest.mark.parametrize("place", ["tools[0].function.parameters", "tools.0.function.parameters"])
async def test_a_tool_that_is_wrong_is_an_error_and_no_reason_to_offer_none(place: str) -> None:
    no = refusal(f"Invalid schema: {place}: 'oneOf' is not permitted.", place)
    async with serving(ChatDialect(), no, status=400) as (server, provider):
        with pytest.raises(ProviderError, match="oneOf"):
            await listen(provider, replace(ASKED, tools=(TOOL,)))
        assert len(server.requests) == 1
        assert provider.capabilities(MODEL).tools


async def test_without_calls_a_conversation_is_the_same_in_words() -> None:
    said = (ChatMessage("user", "Hello"), ChatMessage("assistant", "Hi"))
    dialect = ChatDialect()
    no = refusal("'tools' is not supported", "tools")
    async with serving(dialect, no, status=400) as (server, provider):
        server.reply(*answer(dialect, "Yes."))
        await listen(provider, replace(ASKED, messages=said, tools=(TOOL,)))
        assert server.requests[1].body["messages"] == server.requests[0].body["messages"]
