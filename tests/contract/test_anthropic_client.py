"""The stand-in for Anthropic's API is held honest by the vendor's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest

from events.values import ToolCall, Usage
from tests.contract.every_provider import answer
from tests.servers.dialects.anthropic import AnthropicDialect
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT
from tests.servers.scripted import ScriptedServer, listening

DIALECT = AnthropicDialect()
ASKED: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}


@asynccontextmanager
async def serving(
    *steps: bytes, **how: Any
) -> AsyncIterator[tuple[ScriptedServer, anthropic.AsyncAnthropic]]:
    server = ScriptedServer(DIALECT.pages())
    server.reply(*steps, **how)
    async with (
        listening(server),
        anthropic.AsyncAnthropic(base_url=server.url, api_key=KEY, max_retries=0) as vendor,
    ):
        yield server, vendor


async def test_a_stream_and_its_usage() -> None:
    usage = Usage(input=21, cache_read=188086, output=300, reasoning=93)
    steps = [
        *DIALECT.begin(),
        DIALECT.thought("Hm."),
        DIALECT.piece("The "),
        DIALECT.piece("log."),
        *DIALECT.end(usage=usage),
    ]
    async with serving(*steps) as (server, vendor), vendor.messages.stream(**ASKED) as stream:
        message = await stream.get_final_message()
        text, thinking = message.content
        assert isinstance(text, anthropic.types.TextBlock)
        assert isinstance(thinking, anthropic.types.ThinkingBlock)
        assert (text.text, thinking.thinking) == ("The log.", "Hm.")
        assert message.stop_reason == "end_turn"
        assert message.usage.input_tokens == 21
        assert message.usage.cache_read_input_tokens == 188086
        assert message.usage.output_tokens == 393
        assert message.usage.output_tokens_details is not None
        assert message.usage.output_tokens_details.thinking_tokens == 93
        assert DIALECT.authorised(server.requests[0].headers)


async def test_a_whole_answer() -> None:
    body = DIALECT.body("The log.")
    async with serving(body, content_type="application/json") as (_, vendor):
        message = await vendor.messages.create(**ASKED)
        [text] = message.content
        assert isinstance(text, anthropic.types.TextBlock)
        assert text.text == "The log."
        assert (message.usage.input_tokens, message.usage.output_tokens) == (PROMPT, COMPLETION)


async def test_calls_of_tools() -> None:
    call = ToolCall(id="call_1", name="look_up", arguments='{"at":"Zürich"}')
    steps = [*DIALECT.begin(), *DIALECT.calls(call), *DIALECT.end("tool_calls")]
    async with serving(*steps) as (_, vendor), vendor.messages.stream(**ASKED) as stream:
        message = await stream.get_final_message()
        assert message.stop_reason == "tool_use"
        block = message.content[-1]
        assert isinstance(block, anthropic.types.ToolUseBlock)
        assert (block.id, block.name, block.input) == ("call_1", "look_up", {"at": "Zürich"})


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_errors(status: int, raised: type[anthropic.APIStatusError]) -> None:
    body = DIALECT.failure(status, "no, thanks")
    async with serving(body, status=status, content_type="application/json") as (_, vendor):
        with pytest.raises(raised, match="no, thanks"):
            await vendor.messages.create(**ASKED)


async def test_an_error_within_a_stream() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    steps = [*DIALECT.begin(), DIALECT.event("error", error=error)]
    async with serving(*steps) as (_, vendor), vendor.messages.stream(**ASKED) as stream:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await stream.get_final_message()


async def test_the_list_of_models() -> None:
    async with serving(*answer(DIALECT)) as (_, vendor):
        assert [model.id async for model in vendor.models.list()] == [MODEL]
