"""The dialects of Hugging Face are held honest by the vendor's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import (
    GenerationError,
    HfHubHTTPError,
    OverloadedError,
    ValidationError,
)

from events.values import ToolCall
from tests.servers import chat
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT, SERVED
from tests.servers.dialects.huggingface import ClassicDialect, HuggingFaceDialect
from tests.servers.scripted import ScriptedServer, listening

ROUTER, CLASSIC = HuggingFaceDialect(), ClassicDialect()
HELLO = [{"role": "user", "content": "Hello"}]


@asynccontextmanager
async def serving() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer({})
    async with listening(server):
        yield server


def chat_client(server: ScriptedServer) -> AsyncInferenceClient:
    return AsyncInferenceClient(base_url=f"{server.url}/v1", api_key=KEY)


async def test_the_client_gets_a_whole_answer() -> None:
    async with serving() as server, chat_client(server) as vendor:
        server.reply(ROUTER.body("The event log."), content_type="application/json")
        whole = await vendor.chat_completion(HELLO, model=MODEL)
        assert whole.choices[0].message.content == "The event log."
        assert whole.usage.prompt_tokens == PROMPT
        [request] = server.requests
        assert request.path == "/v1/chat/completions"
        assert ROUTER.authorised(request.headers)


async def test_the_client_gets_a_stream_with_a_call_and_its_usage() -> None:
    call = ToolCall(id="call_1", name="look_up", arguments='{"at":"Zürich"}')
    async with serving() as server, chat_client(server) as vendor:
        pieces = [ROUTER.piece("The "), ROUTER.piece("log.")]
        server.reply(*ROUTER.begin(), *pieces, *ROUTER.calls(call), *ROUTER.end("tool_calls"))
        text, name, arguments, finish, counted = "", "", "", "", None
        async for item in await vendor.chat_completion(
            HELLO, model=MODEL, stream=True, stream_options={"include_usage": True}
        ):
            assert item.model == SERVED
            counted = item.usage or counted
            for choice in item.choices:
                finish = choice.finish_reason or finish
                text += choice.delta.content or ""
                for part in choice.delta.tool_calls or ():
                    name += part.function.name or ""
                    arguments += part.function.arguments or ""
        assert (text, name, arguments) == ("The log.", call.name, call.arguments)
        assert finish == "tool_calls"
        assert counted is not None
        assert counted.completion_tokens == COMPLETION


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500])
async def test_the_client_reads_the_refusals(status: int) -> None:
    async with serving() as server, chat_client(server) as vendor:
        body = ROUTER.failure(status, "it says why")
        server.reply(body, status=status, content_type="application/json")
        with pytest.raises(HfHubHTTPError, match="it says why") as caught:
            await vendor.chat_completion(HELLO, model=MODEL)
        assert caught.value.response.status_code == status


# --- classic ------------------------------------------------------------------------------------


async def test_the_client_gets_a_classic_stream() -> None:
    async with serving() as server, AsyncInferenceClient(model=server.url, token=KEY) as vendor:
        server.reply(*CLASSIC.begin(), CLASSIC.piece("The "), CLASSIC.piece("log."), *CLASSIC.end())
        texts, last = [], None
        async for item in await vendor.text_generation("Hello", details=True, stream=True):
            texts.append("" if item.token.special else item.token.text)
            last = item
        assert "".join(texts) == "The log."
        assert last is not None
        assert last.generated_text == "all of it"
        assert last.details is not None
        assert last.details.finish_reason == "eos_token"
        assert (last.details.input_length, last.details.generated_tokens) == (PROMPT, COMPLETION)
        [request] = server.requests
        assert (request.path, request.body["inputs"]) == ("/", "Hello")
        assert CLASSIC.authorised(request.headers)


async def test_the_client_gets_a_whole_classic_answer() -> None:
    async with serving() as server, AsyncInferenceClient(model=server.url, token=KEY) as vendor:
        server.reply(CLASSIC.body("The log."), content_type="application/json")
        whole = await vendor.text_generation("Hello", details=True, decoder_input_details=True)
        assert whole.generated_text == "The log."
        assert whole.details is not None
        assert whole.details.generated_tokens == COMPLETION
        assert len(whole.details.prefill) == PROMPT


@pytest.mark.parametrize(
    ("kind", "raised"),
    [("generation", GenerationError), ("overloaded", OverloadedError)],
)
async def test_the_client_reads_an_error_in_a_classic_stream(
    kind: str, raised: type[Exception]
) -> None:
    async with serving() as server, AsyncInferenceClient(model=server.url, token=KEY) as vendor:
        failure = chat.event({"error": "it says why", "error_type": kind})
        server.reply(CLASSIC.piece("The "), failure)
        stream = aiter(await vendor.text_generation("Hello", stream=True))
        assert await anext(stream) == "The "
        with pytest.raises(raised, match="it says why"):
            await anext(stream)


async def test_the_client_reads_a_classic_refusal() -> None:
    async with serving() as server, AsyncInferenceClient(model=server.url, token=KEY) as vendor:
        body = CLASSIC.failure(422, "it says why")
        assert json.loads(body)["error_type"] == "validation"
        server.reply(body, status=422, content_type="application/json")
        with pytest.raises(ValidationError, match="it says why"):
            await vendor.text_generation("Hello", details=True)
