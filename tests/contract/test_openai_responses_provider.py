"""What the Responses API does otherwise than chat completions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.port import ChatMessage, Tool
from actors.providers.responses import normalised
from events.errors import (
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.values import Parameters, ToolCall, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import Answered, listen, made
from tests.servers import chat
from tests.servers.dialects.azure_openai import AzureDialect, AzureV1Dialect
from tests.servers.dialects.dialect import PICTURE, SERVED
from tests.servers.dialects.responses import (
    ResponsesDialect,
    counted,
    event,
    function_call,
    message,
    response,
)
from tests.servers.llama import LlamaServer
from tests.servers.scripted import HANG

DIALECT = ResponsesDialect()
CALL = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
USAGE = Usage(input=6, cache_read=3, cache_write=1, output=4, reasoning=2)


# --- the request --------------------------------------------------------------------------------


async def test_a_conversation_becomes_items() -> None:
    conversation = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "What is this?", images=(PICTURE,)),
        ChatMessage("assistant", "Let me look.", tool_calls=(CALL,)),
        ChatMessage("tool", "A cat.", tool_call_id="call_1"),
    )
    tool = Tool("look_up", "Looks up.", {"type": "object"})
    asked = replace(ASKED, messages=conversation, tools=(tool,))
    async with serving(DIALECT, *answer(DIALECT, "A cat.")) as (server, provider):
        await listen(provider, asked)
        body = server.requests[0].body
    picture = {"type": "input_image", "image_url": PICTURE.url}
    assert body["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, picture]},
        {"role": "assistant", "content": "Let me look."},
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "look_up",
            "arguments": CALL.arguments,
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "A cat."},
    ]
    assert body["tools"][0]["strict"] is False
    assert body["store"] is False
    assert "stream_options" not in body


async def test_what_the_api_lacks_is_noted_or_done_here() -> None:
    asked = replace(ASKED, parameters=Parameters(seed=4, stop=("END",)))
    pieces = [DIALECT.piece("The log. EN"), DIALECT.piece("D and")]
    async with serving(DIALECT, *DIALECT.begin(), *pieces, HANG) as (server, provider):
        answered = await listen(provider, asked)
        assert answered.text == "The log. "
        assert answered.end.finish_reason == "stop"
        assert [note.partition(":")[0] for note in answered.end.notes] == ["seed", "stop"]
        assert not {"seed", "stop"} & server.requests[0].body.keys()
        await asyncio.wait_for(server.gone.wait(), 20)


async def test_what_is_asked_for_in_extra_goes_along() -> None:
    extra = {"reasoning": {"effort": "low", "summary": "auto"}, "store": True}
    asked = replace(ASKED, parameters=Parameters(extra=extra))
    async with serving(DIALECT, *answer(DIALECT, "Yes.")) as (server, provider):
        await listen(provider, asked)
        assert server.requests[0].body["reasoning"] == extra["reasoning"]
        assert server.requests[0].body["store"] is True


@pytest.mark.parametrize(
    ("azure", "path"),
    [(AzureV1Dialect(), "/openai/v1/responses"), (AzureDialect(), "/openai/responses")],
)
async def test_azure_speaks_it_too(azure: AzureDialect, path: str) -> None:
    config = {"api": "responses"}
    async with serving(azure, *answer(DIALECT, "Yes."), config=config) as (server, provider):
        assert (await listen(provider, ASKED)).text == "Yes."
        assert server.requests[0].path == path
        assert server.requests[0].body["model"] == "a-deployment"


# --- the answer ---------------------------------------------------------------------------------


async def test_the_parts_of_a_summary_are_kept_apart() -> None:
    part = {"item_id": "rs_1", "output_index": 0, "part": {"type": "summary_text", "text": ""}}
    begun = event("response.reasoning_summary_part.added", **part)
    thoughts = [begun, DIALECT.thought("First."), begun, DIALECT.thought("Then.")]
    steps = [*DIALECT.begin(), *thoughts, DIALECT.piece("Yes."), *DIALECT.end(usage=USAGE)]
    async with serving(DIALECT, *steps) as (_, provider):
        answered = await listen(provider, ASKED)
        assert answered.reasoning == "First.\n\nThen."
        assert answered.end.usage == USAGE
        assert answered.end.usage_raw == counted(USAGE)
        assert answered.end.served_model == SERVED


REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Let me think."}],
}
WHOLE = response(
    "completed",
    output=[REASONING, message("Yes."), function_call(CALL)],
    usage=counted(USAGE),
)


@pytest.mark.parametrize(
    ("step", "how"),
    [
        (
            json.dumps(WHOLE).encode(),
            {"config": {"stream": False}, "content_type": "application/json"},
        ),
        # Some servers stream nothing but the end.
        (event("response.completed", response=WHOLE), {}),
    ],
    ids=["one-body", "only-the-end"],
)
async def test_an_answer_in_one_piece_has_all_of_it(step: bytes, how: dict[str, Any]) -> None:
    async with serving(DIALECT, step, **how) as (_, provider):
        answered = await listen(provider, ASKED)
        assert (answered.reasoning, answered.text) == ("Let me think.", "Yes.")
        assert answered.end.tool_calls == (CALL,)
        assert answered.end.finish_reason == "tool_calls"
        assert answered.end.usage == USAGE


async def test_what_the_model_refuses_is_its_answer() -> None:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    steps = [event("response.refusal.delta", **place, delta="I will not."), *DIALECT.end()]
    async with serving(DIALECT, *steps) as (_, provider):
        assert (await listen(provider, ASKED)).text == "I will not."


# --- ends that are none -------------------------------------------------------------------------


async def test_an_answer_that_was_filtered_is_an_error() -> None:
    end = response("incomplete", incomplete_details={"reason": "content_filter"})
    steps = [DIALECT.piece("I "), event("response.incomplete", response=end)]
    answered = Answered()
    async with serving(DIALECT, *steps) as (_, provider):
        with pytest.raises(ContentFiltered):
            await listen(provider, ASKED, answered)
    assert answered.text == "I "


FAILURES: list[tuple[dict[str, Any], type[ProviderError], bool]] = [
    ({"code": "server_error", "message": "it says why"}, ProviderUnavailable, True),
    ({"code": "rate_limit_exceeded", "message": "it says why"}, RateLimited, True),
    ({"code": "insufficient_quota", "message": "it says why"}, RateLimited, False),
    ({"code": "bio_policy", "message": "it says why"}, ContentFiltered, False),
    ({"code": "invalid_prompt", "message": "it says why"}, ProviderError, False),
    ({"code": "context_length_exceeded", "message": "it says why"}, ContextTooLong, False),
]


@pytest.mark.parametrize(("failure", "expected", "retryable"), FAILURES)
@pytest.mark.parametrize("form", ["failed", "error", "nested"])
async def test_a_failure_has_its_class(
    failure: dict[str, Any], expected: type[ProviderError], retryable: bool, form: str
) -> None:
    steps = {
        "failed": event("response.failed", response=response("failed", error=failure)),
        "error": event("error", **failure, param=None),
        "nested": event("error", error={"type": "an_error", **failure}),
    }
    async with serving(DIALECT, *DIALECT.begin(), steps[form]) as (_, provider):
        with pytest.raises(expected, match="it says why") as caught:
            await listen(provider, ASKED)
        assert type(caught.value) is expected
        assert caught.value.retryable is retryable


async def test_the_answer_of_another_api_is_none() -> None:
    async with serving(DIALECT, *chat.whole("The log.")) as (_, provider):
        with pytest.raises(BadResponse, match="form of the Responses API"):
            await listen(provider, ASKED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"output": [message(["Yes."])]},
        {"output": [{**function_call(CALL), "arguments": 7}]},
        {"usage": ["a list"]},
        {"model": ["a list"]},
        {"status": "incomplete", "incomplete_details": {"reason": 7}},
    ],
    ids=["text", "call", "usage", "model", "reason"],
)
async def test_an_end_of_another_form_is_a_bad_response(wrong: dict[str, Any]) -> None:
    end = event("response.completed", response=response("completed") | wrong)
    async with serving(DIALECT, end) as (_, provider):
        with pytest.raises(BadResponse, match="form of the Responses API"):
            await listen(provider, ASKED)


# --- a real server ------------------------------------------------------------------------------


async def test_llama_speaks_it(llama_server: LlamaServer) -> None:
    asked = replace(ASKED, model=llama_server.model_name, parameters=Parameters(max_tokens=8))
    for stream in (True, False):
        config = {"base_url": llama_server.base_url, "api": "responses", "stream": stream}
        async with made("openai", **config) as provider:
            answered = await listen(provider, asked)
            assert answered.text
            assert answered.end.usage is not None
            assert 0 < answered.end.usage.output <= 8
            assert answered.end.finish_reason in ("stop", "length")


def test_usage_of_the_vendor_s_documented_example() -> None:
    # "The response object", OpenAI API reference.
    raw = {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 123,
    }
    assert normalised(raw) == Usage(input=36, output=87)
    # "Reasoning models", OpenAI documentation.
    raw = {
        "input_tokens": 75,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1186,
        "output_tokens_details": {"reasoning_tokens": 1024},
        "total_tokens": 1261,
    }
    assert normalised(raw) == Usage(input=75, output=162, reasoning=1024)
