"""What OpenRouter and vLLM do otherwise than OpenAI, with the provider `openai`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from events.errors import (
    AuthenticationFailed,
    ContentFiltered,
    ContextTooLong,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
)
from events.values import Usage
from tests.contract.provider_calls import ASKED, KEY, Answered, listen, scripted
from tests.servers.chat import DONE, chunk, event

PROCESSING = b": OPENROUTER PROCESSING\n\n"


async def test_what_it_charges_is_kept_with_the_usage() -> None:
    # "Usage Accounting", OpenRouter documentation.
    raw = {
        "completion_tokens": 2,
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost": 0.95,
        "cost_details": {"upstream_inference_cost": 19},
        "prompt_tokens": 194,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
        "total_tokens": 196,
    }
    async with scripted() as (server, provider):
        counted = event({"object": "chat.completion.chunk", "choices": [], "usage": raw})
        steps = [PROCESSING, chunk(reasoning="Hm."), chunk("Yes.", finish="stop"), counted]
        server.reply(*steps, DONE)
        answered = await listen(provider, ASKED)
    assert (answered.reasoning, answered.text) == ("Hm.", "Yes.")
    assert answered.end.usage == Usage(input=94, cache_write=100, output=2)
    assert answered.end.usage_raw == raw


MID_STREAM = {
    "id": "gen-1",
    "object": "chat.completion.chunk",
    "model": "a-model",
    "error": {"code": 502, "message": "it says why", "metadata": {"provider_name": "Acme"}},
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
}
IN_CHOICE = {
    "object": "chat.completion.chunk",
    "choices": [
        {"index": 0, "delta": {}, "error": {"code": 429, "message": "it says why"}},
    ],
}
PLAIN = {"object": "error", "message": "it says why", "type": "BadRequestError", "code": 400}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(MID_STREAM, ProviderUnavailable), (IN_CHOICE, RateLimited), (PLAIN, ProviderError)],
    ids=["openrouter", "openrouter-choice", "vllm"],
)
async def test_an_error_in_a_stream_is_no_end(
    failure: dict[str, Any], expected: type[ProviderError]
) -> None:
    answered = Answered()
    async with scripted() as (server, provider):
        server.reply(chunk("The "), event(failure), DONE)
        with pytest.raises(expected, match="it says why") as caught:
            await listen(provider, ASKED, answered)
    assert type(caught.value) is expected
    assert answered.text == "The "


UPSTREAM = {"provider_name": "Acme", "raw": '{"error": "maximum context length is 8192 tokens"}'}
LEAKING = {"provider_name": "Acme", "raw": {"error": f"bad header {KEY}"}}
BUDGET = {"limit_source": "openrouter_in_flight_budget"}
REFUSALS: list[tuple[int, dict[str, Any] | None, type[ProviderError], bool, str]] = [
    (403, {"reasons": ["violence", "hate"]}, ContentFiltered, False, "violence, hate"),
    (403, {"reasons": [KEY]}, ContentFiltered, False, "([secret])"),
    (403, None, AuthenticationFailed, False, "api_key"),
    (400, UPSTREAM, ContextTooLong, False, "Acme says"),
    (400, LEAKING, ProviderError, False, "bad header [secret]"),
    (502, {"raw": "overloaded"}, ProviderUnavailable, True, "the provider says overloaded"),
    (402, BUDGET, RateLimited, True, "ask again"),
    (402, None, RateLimited, False, "no credit"),
]


@pytest.mark.parametrize(("status", "metadata", "expected", "retryable", "words"), REFUSALS)
async def test_a_refusal_says_what_its_metadata_tell(
    status: int,
    metadata: dict[str, Any] | None,
    expected: type[ProviderError],
    retryable: bool,
    words: str,
) -> None:
    error = {"code": status, "message": "Provider returned error", "metadata": metadata}
    async with scripted() as (server, provider):
        body = json.dumps({"error": error}).encode()
        server.reply(body, status=status, content_type="application/json")
        with pytest.raises(expected) as caught:
            await listen(provider, ASKED)
    assert type(caught.value) is expected
    assert caught.value.retryable is retryable
    assert words in caught.value.message
    assert KEY not in caught.value.message
