"""What only the provider `anthropic` does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.providers.anthropic_messages import closed, normalised
from actors.providers.pace import Paced
from actors.providers.port import ChatMessage, ChatRequest, Provider, Tool
from events.errors import (
    ContentFiltered,
    ContextTooLong,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.values import Parameters, ToolCall, Usage
from tests.contract.every_provider import answer, serving
from tests.contract.provider_calls import Answered, listen
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.dialect import MODEL, PICTURE
from tests.servers.scripted import HANG, ScriptedServer, Step

DIALECT = AnthropicDialect()
USER = ChatMessage("user", "Hello")
ASKED = ChatRequest(MODEL, (USER,))
YES: list[Step] = [*answer(DIALECT, "Yes.")]


@asynccontextmanager
async def asking(*steps: Step, **how: Any) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    async with serving(DIALECT, *(steps or YES), **how) as pair:
        yield pair


async def sent(asked: ChatRequest, **config: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body of the request, and the notes of the answer."""
    async with asking(config=config) as (server, provider):
        answered = await listen(provider, asked)
        return server.requests[0].body, answered.end.notes


# Anthropic, "Prompt caching" (the usage of its two calls about a whole book), "Extended thinking"
# and "Streaming messages".
@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 188086,
                "cache_read_input_tokens": 0,
                "output_tokens": 393,
            },
            Usage(input=21, cache_write=188086, output=393),
        ),
        (
            {
                "input_tokens": 21,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 188086,
                "output_tokens": 393,
            },
            Usage(input=21, cache_read=188086, output=393),
        ),
        (
            {
                "input_tokens": 25,
                "output_tokens": 150,
                "output_tokens_details": {"thinking_tokens": 120},
            },
            Usage(input=25, output=30, reasoning=120),
        ),
        ({"input_tokens": 25, "output_tokens": 15}, Usage(input=25, output=15)),
        ({"input_tokens": "many", "output_tokens": 15}, None),
        ({}, None),
    ],
)
def test_usage_is_normalised(raw: dict[str, Any], usage: Usage | None) -> None:
    assert normalised(raw) == usage


async def test_later_counts_replace_earlier_ones() -> None:
    """As in the vendor's "Streaming messages": 25 and 1 first, then 15 alone."""
    message = {"model": "m", "usage": {"input_tokens": 25, "output_tokens": 1}}
    steps: list[Step] = [
        DIALECT.event("message_start", message=message),
        DIALECT.piece("Hello!"),
        DIALECT.event(
            "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15}
        ),
        DIALECT.event("message_stop"),
        HANG,
    ]
    async with asking(*steps) as (_, provider):
        answered = await listen(provider, ASKED)
        assert answered.text == "Hello!"
        assert answered.end.usage == Usage(input=25, output=15)
        assert answered.end.served_model == "m"


async def test_users_and_assistants_take_turns() -> None:
    call = ToolCall(id="c1", name="look_up", arguments='{"at":"cat"}')
    broken = ToolCall(id="c2", name="look_up", arguments="{")
    body, notes = await sent(
        replace(
            ASKED,
            messages=(
                ChatMessage("system", "Be brief."),
                ChatMessage("assistant", "Hi."),
                ChatMessage("user", "One"),
                ChatMessage("user", "Two", images=(PICTURE,)),
                ChatMessage("user", "  "),
                ChatMessage("assistant", "", tool_calls=(call, broken)),
                ChatMessage("tool", "On the mat.", tool_call_id="c1"),
                ChatMessage("tool", "", tool_call_id="c2"),
                ChatMessage("system", "Be polite."),
                ChatMessage("assistant", "There."),
            ),
            tools=(Tool("look_up", "Looks up.", {"type": "object"}),),
        )
    )
    assert body["system"] == "Be brief.\n\nBe polite."
    assert [turn["role"] for turn in body["messages"]] == [
        "user", "assistant", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    said = [turn["content"] for turn in body["messages"]]
    assert said[0] == [{"type": "text", "text": "Begin."}]
    assert [block["type"] for block in said[2]] == ["text", "image", "text"]
    assert said[3] == [
        {"type": "tool_use", "id": "c1", "name": "look_up", "input": {"at": "cat"}},
        {"type": "tool_use", "id": "c2", "name": "look_up", "input": {"arguments": "{"}},
    ]
    assert said[4] == [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "On the mat."}],
        },
        {"type": "tool_result", "tool_use_id": "c2", "content": []},
    ]
    assert said[6] == [{"type": "text", "text": "Continue."}]
    assert [note.split(" ")[1] for note in notes if note.startswith("messages")] == [
        "'Begin.'", "'Continue.'",
    ]  # fmt: skip


async def test_after_a_call_of_a_tool_it_goes_on_without_thinking() -> None:
    """The API refuses thinking there unless the blocks before the call come back as they were."""
    call = ToolCall(id="c1", name="look_up", arguments="{}")
    asked = replace(
        ASKED,
        messages=(
            ChatMessage("user", "Where?"),
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "On the mat.", tool_call_id="c1"),
        ),
        parameters=Parameters(temperature=0.5),
        tools=(Tool("look_up", "", {}),),
    )
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body, notes = await sent(asked, thinking=thinking)
    assert "thinking" not in body
    assert (body["max_tokens"], body["temperature"]) == (8192, 0.5)
    assert any(note.startswith("thinking: left out") for note in notes)
    body, _ = await sent(replace(asked, messages=asked.messages[:1]), thinking=thinking)
    assert body["thinking"] == thinking


async def test_a_bound_is_always_sent() -> None:
    body, notes = await sent(ASKED)
    assert body["max_tokens"] == 8192
    assert notes == ("max_tokens: 8192, because this API requires a bound",)
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body, notes = await sent(ASKED, max_tokens=1000, thinking=thinking)
    assert body["max_tokens"] == 3000
    assert body["thinking"] == thinking
    asked = replace(ASKED, parameters=Parameters(max_tokens=5, extra={"thinking": {"type": "x"}}))
    body, notes = await sent(asked, thinking=thinking)
    assert (body["max_tokens"], body["thinking"], notes) == (5, {"type": "x"}, ())


async def test_the_version_of_the_api_can_be_chosen() -> None:
    async with asking(config={"api_version": "2026-10-21"}) as (server, provider):
        await listen(provider, ASKED)
        assert server.requests[0].headers["anthropic-version"] == "2026-10-21"
        assert DIALECT.authorised(server.requests[0].headers)


async def test_the_system_prompt_is_cached_where_that_is_wished() -> None:
    asked = replace(ASKED, messages=(ChatMessage("system", "Be brief."), USER))
    body, _ = await sent(asked, cache=True)
    [block] = body["system"]
    assert block == {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}


async def test_a_schema_is_closed_and_loses_its_bounds() -> None:
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1},
            "each": {"type": "array", "items": {"type": "object"}, "minItems": 2},
            "one": {"oneOf": [{"$ref": "#/$defs/x"}]},
        },
        "$defs": {"x": {"type": "string", "maxLength": 3}},
    }
    taken = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer"},
            "each": {"type": "array", "items": {"type": "object", "additionalProperties": False}},
            "one": {"anyOf": [{"$ref": "#/$defs/x"}]},
        },
        "$defs": {"x": {"type": "string"}},
        "additionalProperties": False,
    }
    body, notes = await sent(replace(ASKED, parameters=Parameters(schema_=schema)))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": taken}}
    assert any(note.startswith("schema:") for note in notes)
    assert closed(taken) == taken
    _, notes = await sent(replace(ASKED, parameters=Parameters(schema_=taken)))
    assert not any(note.startswith("schema:") for note in notes)
    effort = {"output_config": {"effort": "low"}}
    body, _ = await sent(replace(ASKED, parameters=Parameters(schema_=taken, extra=effort)))
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["schema"] == taken
    body, notes = await sent(
        replace(ASKED, parameters=Parameters(schema_=schema)), structured_output=False
    )
    assert "output_config" not in body
    assert any(note.startswith("output_config:") for note in notes)


async def test_temperature_is_kept_within_the_vendor_s_scale() -> None:
    hot = replace(ASKED, parameters=Parameters(temperature=1.5, max_tokens=9))
    body, notes = await sent(hot)
    assert body["temperature"] == 1
    assert notes == ("temperature: 1 instead of 1.5, the most that this API takes",)
    body, notes = await sent(hot, thinking={"type": "adaptive"})
    assert "temperature" not in body
    assert "thinking" in notes[0]


async def test_what_a_model_does_not_take_is_left_out_once_and_for_all() -> None:
    words = (
        "`temperature` and `top_p` cannot both be specified for this model.",
        "temperature: Extra inputs are not permitted",
    )
    asked = replace(ASKED, parameters=Parameters(temperature=0.5, top_p=0.9, max_tokens=9))
    refusal = DIALECT.failure(400, words[0])
    async with asking(refusal, status=400) as (server, provider):
        again = DIALECT.failure(400, words[1])
        server.reply(again, status=400, content_type="application/json")
        server.reply(*YES)
        for _ in range(2):
            answered = await listen(provider, asked)
            assert [note.split(":")[0] for note in answered.end.notes] == ["temperature", "top_p"]
        bodies = [request.body for request in server.requests]
        assert [{"temperature", "top_p"} & body.keys() for body in bodies] == [
            {"temperature", "top_p"}, {"temperature"}, set(), set(),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "output_config.format.schema: For 'object' type, property 'x' is not supported",
        "output_config.format.schema: too many optional parameters (30)",
    ],
)
async def test_a_schema_that_is_refused_is_an_error_of_its_own(said: str) -> None:
    asked = replace(ASKED, parameters=Parameters(schema_={"type": "object"}))
    async with asking(DIALECT.failure(400, said), status=400) as (server, provider):
        with pytest.raises(ProviderError, match="It says: output_config"):
            await listen(provider, asked)
        assert len(server.requests) == 1
        assert provider.capabilities(ASKED.model).structured_output


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop_sequence", "stop"),
        ("pause_turn", "length"),
        ("model_context_window_exceeded", "length"),
        ("a_new_one", "a_new_one"),
    ],
)
async def test_reasons_have_the_usual_names(reason: str, finish: str) -> None:
    end = DIALECT.event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 1})
    async with asking(*DIALECT.begin(), end, DIALECT.event("message_stop")) as (_, provider):
        answered = await listen(provider, ASKED)
        assert answered.end.finish_reason == finish
        assert any("pause" in note for note in answered.end.notes) is (reason == "pause_turn")


async def test_a_refusal_is_no_answer() -> None:
    end = DIALECT.event("message_delta", delta={"stop_reason": "refusal"}, usage={})
    async with asking(*DIALECT.begin(), DIALECT.piece("I"), end) as (_, provider):
        answered = Answered()
        with pytest.raises(ContentFiltered):
            await listen(provider, ASKED, answered)
        assert answered.text == "I"


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("overloaded_error", ProviderUnavailable), ("rate_limit_error", RateLimited)],
)
async def test_an_error_within_the_stream_has_its_class(kind: str, raised: type[Exception]) -> None:
    error = DIALECT.event("error", error={"type": kind, "message": "Overloaded"})
    async with asking(*DIALECT.begin(), DIALECT.piece("The "), error, HANG) as (_, provider):
        answered = Answered()
        with pytest.raises(raised, match="Overloaded"):
            await listen(provider, ASKED, answered)
        assert answered.text == "The "


async def test_a_conversation_that_is_too_long() -> None:
    for words in (
        "prompt is too long: 215000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
    ):
        async with asking(DIALECT.failure(400, words), status=400) as (_, provider):
            with pytest.raises(ContextTooLong):
                await listen(provider, ASKED)


async def test_limits_are_learned_where_no_time_to_wait_is_said() -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=50)).isoformat()
    headers = {
        "anthropic-ratelimit-requests-limit": "1",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": reset,
    }
    body = DIALECT.failure(429, "slow down")
    async with asking(body, status=429, headers=headers) as (_, provider):
        with pytest.raises(RateLimited):
            await listen(provider, ASKED)
        assert isinstance(provider, Paced)
        assert provider.pace(MODEL).wait() > 20


async def test_a_spent_budget_is_not_asked_again() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    error = {"type": "rate_limit_error", "message": "Usage is at its limit.", "details": details}
    body = b'{"type": "error", "error": %s}' % json.dumps(error).encode()
    async with asking(body, status=429) as (_, provider):
        with pytest.raises(RateLimited, match="credit") as caught:
            await listen(provider, ASKED)
        assert not caught.value.retryable
