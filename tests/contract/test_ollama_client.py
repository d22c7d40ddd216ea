"""The dialect of Ollama is held honest by the vendor's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import ollama
import pytest

from events.values import ToolCall
from tests.servers.dialects.dialect import COMPLETION, MODEL, PICTURE, PROMPT
from tests.servers.dialects.ollama import CONTEXT, OllamaDialect, last, line
from tests.servers.scripted import ScriptedServer, Step, listening

DIALECT = OllamaDialect()


@asynccontextmanager
async def vendor(
    *steps: Step, status: int = 200, content_type: str = DIALECT.content_type
) -> AsyncIterator[tuple[ollama.AsyncClient, ScriptedServer]]:
    server = ScriptedServer(DIALECT.pages())
    server.reply(*steps, status=status, content_type=content_type)
    async with listening(server), ollama.AsyncClient(host=server.url) as client:
        yield client, server


async def test_a_stream_with_its_usage() -> None:
    steps = [DIALECT.thought("Hm."), DIALECT.piece("The "), DIALECT.piece("log."), *DIALECT.end()]
    async with vendor(*steps) as (client, server):
        thought = said = ""
        final = None
        async for part in await client.chat(
            MODEL, [ollama.Message(role="user", content="Hello")], stream=True
        ):
            thought += part.message.thinking or ""
            said += part.message.content or ""
            final = part
        assert (thought, said) == ("Hm.", "The log.")
        assert final is not None
        assert (final.done, final.done_reason) == (True, "stop")
        assert (final.prompt_eval_count, final.eval_count) == (PROMPT, COMPLETION)
        assert server.requests[0].path == "/api/chat"


async def test_a_whole_answer() -> None:
    async with vendor(DIALECT.body("The log."), content_type="application/json") as (client, _):
        whole = await client.chat(MODEL, [ollama.Message(role="user", content="Hello")])
        assert whole.message.content == "The log."
        assert whole.eval_count == COMPLETION


async def test_tool_calls() -> None:
    call = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
    async with vendor(*DIALECT.calls(call), *DIALECT.end("tool_calls")) as (client, _):
        parts = [
            part
            async for part in await client.chat(
                MODEL, [ollama.Message(role="user", content="Where?")], stream=True
            )
        ]
        [read] = parts[0].message.tool_calls or ()
        assert read.function.name == "look_up"
        assert read.function.arguments == {"at": "cat"}
        assert parts[-1].done_reason == "stop"


async def test_what_the_client_sends_is_read_as_it_was_meant() -> None:
    async with vendor(*DIALECT.end()) as (client, server):
        schema = {"type": "object", "properties": {"go": {"type": "boolean"}}}
        message = ollama.Message(
            role="user", content="What?", images=[ollama.Image(value=PICTURE.data)]
        )
        await client.chat(
            MODEL,
            [message],
            format=schema,
            options={"temperature": 0.5, "num_predict": 77, "seed": 4, "stop": ["END"]},
        )
        sent = DIALECT.sent(server.requests[0].path, server.requests[0].body)
        assert sent.texts == (("user", "What?"),)
        assert (sent.temperature, sent.max_tokens, sent.seed, sent.stop) == (0.5, 77, 4, ("END",))
        assert (sent.images, sent.schema) == (1, schema)
        assert PICTURE.base64 in json.dumps(server.requests[0].body)


async def test_raw_generation() -> None:
    async with vendor(line(response="The log.", done=False), line(response="", **last())) as (
        client,
        server,
    ):
        said = [
            part.response
            async for part in await client.generate(MODEL, "<s>Hello", raw=True, stream=True)
        ]
        assert said == ["The log.", ""]
        assert server.requests[0].path == "/api/generate"


async def test_models_and_what_they_can_do() -> None:
    async with vendor() as (client, _):
        assert [model.model for model in (await client.list()).models] == [MODEL]
        told = await client.show(MODEL)
        assert told.modelinfo is not None
        assert told.modelinfo["llama.context_length"] == CONTEXT
        assert "tools" in (told.capabilities or ())


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_errors(status: int) -> None:
    async with vendor(
        DIALECT.failure(status, "there is no such model"),
        status=status,
        content_type="application/json",
    ) as (client, _):
        with pytest.raises(ollama.ResponseError, match="no such model") as caught:
            await client.chat(MODEL, [ollama.Message(role="user", content="Hello")])
        assert caught.value.status_code == status


async def test_an_error_within_a_stream() -> None:
    error = json.dumps({"error": "an error was encountered while running the model"}).encode()
    async with vendor(DIALECT.piece("The "), error + b"\n") as (client, _):
        with pytest.raises(ollama.ResponseError, match="while running the model"):
            async for _ in await client.chat(
                MODEL, [ollama.Message(role="user", content="Hello")], stream=True
            ):
                pass
