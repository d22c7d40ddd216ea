"""The dialect of the Responses API is held honest by the vendor's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import pytest
from openai.types.responses import ResponseFunctionToolCall

from events.values import ToolCall
from tests.contract.openai_client import REFUSALS
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT, SERVED
from tests.servers.dialects.responses import ResponsesDialect, event, response
from tests.servers.scripted import ScriptedServer, listening

DIALECT = ResponsesDialect()
CALL = ToolCall(id="call_1", name="look_up", arguments='{"at":"Zürich"}')


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[ScriptedServer, openai.AsyncOpenAI]]:
    server = ScriptedServer({})
    async with (
        listening(server),
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as vendor,
    ):
        yield server, vendor


async def test_the_client_gets_a_whole_answer() -> None:
    async with serving() as (server, vendor):
        server.reply(DIALECT.body("The event log."), content_type="application/json")
        whole = await vendor.responses.create(model=MODEL, input="Hello")
        assert whole.output_text == "The event log."
        assert whole.status == "completed"
        assert whole.usage is not None
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (PROMPT, COMPLETION)
        [request] = server.requests
        assert request.path == "/v1/responses"
        assert DIALECT.authorised(request.headers)


async def test_the_client_gets_a_stream_with_reasoning_a_call_and_its_usage() -> None:
    async with serving() as (server, vendor):
        server.reply(
            *DIALECT.begin(),
            DIALECT.thought("Let me think."),
            DIALECT.piece("The "),
            DIALECT.piece("log."),
            *DIALECT.calls(CALL),
            *DIALECT.end("tool_calls"),
        )
        text, thought, arguments, calls, ended = "", "", "", [], None
        async for item in await vendor.responses.create(model=MODEL, input="Hello", stream=True):
            match item.type:
                case "response.output_text.delta":
                    text += item.delta
                case "response.reasoning_summary_text.delta":
                    thought += item.delta
                case "response.function_call_arguments.delta":
                    arguments += item.delta
                case "response.output_item.done":
                    calls.append(item.item)
                case "response.completed":
                    ended = item.response
        assert (text, thought, arguments) == ("The log.", "Let me think.", CALL.arguments)
        [call] = calls
        assert isinstance(call, ResponseFunctionToolCall)
        assert (call.call_id, call.name, call.arguments) == (CALL.id, CALL.name, CALL.arguments)
        assert ended is not None
        assert ended.model == SERVED
        assert ended.usage is not None
        assert ended.usage.output_tokens_details.reasoning_tokens == 0


async def test_the_client_reads_an_end_that_is_none() -> None:
    failure = {"code": "server_error", "message": "it says why"}
    cases = [
        (DIALECT.end("length"), "response.incomplete"),
        ([event("response.failed", response=response("failed", error=failure))], "response.failed"),
        ([event("error", code="server_error", message="it says why", param=None)], "error"),
    ]
    for steps, expected in cases:
        async with serving() as (server, vendor):
            server.reply(*DIALECT.begin(), *steps)
            stream = await vendor.responses.create(model=MODEL, input="Hello", stream=True)
            items = [item async for item in stream]
            assert items[-1].type == expected
            if items[-1].type == "response.failed":
                assert items[-1].response.error is not None
                assert items[-1].response.error.message == "it says why"


@pytest.mark.parametrize(("status", "raised"), REFUSALS)
async def test_the_client_reads_the_refusals(
    status: int, raised: type[openai.APIStatusError]
) -> None:
    async with serving() as (server, vendor):
        body = DIALECT.failure(status, "it says why")
        server.reply(body, status=status, content_type="application/json")
        with pytest.raises(raised, match="it says why"):
            await vendor.responses.create(model=MODEL, input="Hello")
