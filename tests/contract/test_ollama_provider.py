"""What only the provider of Ollama does: its context, truncation found, templates, thinking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.ollama_chat import normalised
from actors.providers.port import ChatMessage, ChatRequest, Provider, Tool
from actors.providers.truncation import fewest_tokens
from events.errors import (
    BadResponse,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Parameters, ToolCall, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen, made
from tests.servers.dialects.dialect import MODEL, PICTURE
from tests.servers.dialects.ollama import CONTEXT, OllamaDialect, last, line, shown
from tests.servers.scripted import ScriptedServer, listening

DIALECT = OllamaDialect()
HELLO = answer(DIALECT, "Hello.")
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@asynccontextmanager
async def ollama(
    *steps: Any, show: Any = None, **config: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    async with serving(DIALECT, *(steps or HELLO), config=config) as (server, provider):
        server.pages["/api/show"] = shown() if show is None else show
        yield server, provider


def options(server: ScriptedServer) -> dict[str, Any]:
    found = server.requests[-1].body["options"]
    assert isinstance(found, dict)
    return found


# --- the context ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("show", "config", "expected"),
    [
        (shown(8192), {}, 8192),
        (shown(131_072), {}, 16_384),
        (shown(131_072), {"num_ctx": 65_536}, 65_536),
        (shown(8192, parameters='stop  "<s>"\nnum_ctx                4096'), {}, 4096),
        (shown(None), {}, None),
        (shown(None), {"context_length": 2048}, 2048),
        ({}, {}, None),
        ([], {}, None),
        ({"model_info": {"llama.context_length": "8192"}, "capabilities": 7}, {}, None),
    ],
)
async def test_the_context_is_the_model_s_own_within_the_bound(
    show: Any, config: dict[str, Any], expected: int | None
) -> None:
    async with ollama(show=show, **config) as (server, provider):
        await listen(provider, ASKED)
        assert options(server).get("num_ctx") == expected
        assert provider.capabilities(MODEL).context_length == (expected or 16_384)


async def test_a_model_is_asked_about_once() -> None:
    async with ollama() as (server, provider):
        assert provider.capabilities(MODEL).context_length == 16_384
        await listen(provider, ASKED)
        await listen(provider, ASKED)
        assert server.asked_for == ["/api/show"]
        assert provider.capabilities(MODEL).context_length == CONTEXT


async def test_what_extra_says_goes_before() -> None:
    extra = {
        "num_ctx": 1024,
        "top_k": 3,
        "options": {"mirostat": 1},
        "keep_alive": 0,
        "shift": False,
    }
    asked = replace(ASKED, parameters=Parameters(temperature=0.5, extra=extra))
    async with ollama(keep_alive="10m") as (server, provider):
        await listen(provider, asked)
        assert options(server) == {
            "num_ctx": 1024,
            "temperature": 0.5,
            "top_k": 3,
            "mirostat": 1,
        }
        assert server.requests[0].body["keep_alive"] == 0
        assert server.requests[0].body["shift"] is False


async def test_what_a_model_cannot_do_is_known_once_it_was_asked() -> None:
    async with ollama(show=shown(able=("completion",))) as (_, provider):
        assert provider.capabilities(MODEL).tools
        await listen(provider, ASKED)
        able = provider.capabilities(MODEL)
        assert (able.tools, able.images) == (False, False)
        assert able.chat_template


async def test_a_model_without_eyes_is_not_shown_a_picture() -> None:
    asked = replace(ASKED, messages=(ChatMessage("user", "What?", images=(PICTURE,)),))
    async with ollama(show=shown(able=("completion",))) as (server, provider):
        with pytest.raises(ProviderError, match="takes no pictures"):
            await listen(provider, asked)
        assert server.requests == []


async def test_a_model_that_is_not_there_is_named() -> None:
    server = ScriptedServer({})
    server.reply(
        DIALECT.failure(404, "model not found, try pulling it first"),
        status=404,
        content_type="application/json",
    )
    async with listening(server), made("ollama", base_url=server.url) as provider:
        with pytest.raises(ModelNotFound, match=r"'a-model'.*try pulling"):
            await listen(provider, ASKED)
        assert [request.path for request in server.requests] == ["/api/show"]


async def test_what_is_asked_before_counts_as_waiting() -> None:
    server = ScriptedServer({})
    server.reply(after=asyncio.Event())
    async with (
        listening(server),
        made("ollama", base_url=server.url, first_token_timeout=0.05) as provider,
    ):
        with pytest.raises(ProviderUnavailable, match="first_token_timeout"):
            await asyncio.wait_for(listen(provider, ASKED), 20)


# --- truncation ----------------------------------------------------------------------------------


def said(words: int, written: int = 5) -> ChatRequest:
    return replace(ASKED, messages=(ChatMessage("user", "some words " * (words // 2)),))


@pytest.mark.parametrize(
    ("words", "read", "written", "found"),
    [
        (1000, 1300, 5, None),
        (1000, 1000, 5, None),
        (1000, 700, 5, "read 700 tokens of at least 1000"),
        (10_000, 8192, 5, "read 8192 tokens of at least 10000"),
        (8000, 8192, 5, "all that the context holds"),
        (8800, 8150, 5, "where it cuts"),
        (4400, 4090, 5, "where it cuts"),
        (6600, 6200, 5, None),
        (6000, 8000, 100, None),
        (6000, 8000, 500, "while the answer was written"),
        (1000, None, 5, None),
    ],
)
async def test_silent_truncation_is_found(
    words: int, read: int | None, written: int, found: str | None
) -> None:
    end = line(message={"role": "assistant", "content": "Yes."}, **last("stop", read, written))
    async with ollama(end) as (_, provider):
        notes = (await listen(provider, said(words))).end.notes
        assert [note.split(":")[0] for note in notes] == (["truncated"] if found else [])
        assert (found or "") in "".join(notes)


async def test_truncation_is_found_where_words_have_no_spaces_between() -> None:
    """Sixteen characters are about nine tokens; the server has read half of its context."""
    text = "我们今天讨论事件日志的设计与实现" * 1500
    end = line(message={"role": "assistant", "content": "好"}, **last("stop", 4100, 5))
    async with ollama(end) as (_, provider):
        asked = replace(ASKED, messages=(ChatMessage("user", text),))
        [note] = (await listen(provider, asked)).end.notes
        assert note.startswith("truncated: ")
    end = line(message={"role": "assistant", "content": "好"}, **last("stop", 900, 5))
    async with ollama(end) as (_, provider):
        asked = replace(ASKED, messages=(ChatMessage("user", text[:1600]),))
        assert not (await listen(provider, asked)).end.notes


@pytest.mark.parametrize("template", [None, TEMPLATE])
async def test_nothing_is_to_be_dropped_unless_that_is_wanted(template: str | None) -> None:
    asked = replace(ASKED, chat_template=template)
    wanted = replace(asked, parameters=Parameters(extra={"truncate": True, "shift": True}))
    async with ollama() as (server, provider):
        server.reply(*HELLO, content_type=DIALECT.content_type)
        for request in (asked, wanted):
            await listen(provider, request)
        sent = [(one.body["truncate"], one.body["shift"]) for one in server.requests]
        assert sent == [(False, False), (True, True)]


async def test_what_extra_asks_for_is_what_was_allowed() -> None:
    end = line(message={"role": "assistant", "content": "Yes."}, **last("stop", 1024, 5))
    asked = replace(ASKED, parameters=Parameters(extra={"num_ctx": 1024}))
    async with ollama(end) as (_, provider):
        [note] = (await listen(provider, asked)).end.notes
        assert "(context 1024)" in note


@pytest.mark.parametrize(
    ("text", "fewest"),
    [
        ("", 0),
        ("four words of text", 4),
        ("=" * 800, 0),
        (" " * 800 + "x", 1),
        ("ab" * 400, 100),
        ("東京都" * 80, 120),
        ("我们今天讨论 the event log 事件日志的设计。", 9),
    ],
)
def test_tokens_are_counted_low(text: str, fewest: int) -> None:
    assert fewest_tokens(text) == fewest


# --- usage and errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        # docs/api.md of Ollama, "Chat request (Streaming)" and "(Streaming with tools)"
        ({"prompt_eval_count": 26, "eval_count": 282}, Usage(input=26, output=282)),
        ({"prompt_eval_count": 169, "eval_count": 15}, Usage(input=169, output=15)),
        # What is zero is left out: an empty answer, and a prompt that older servers had cached.
        ({"prompt_eval_count": 26}, Usage(input=26)),
        ({"eval_count": 282}, None),
        ({"prompt_eval_count": "26"}, None),
        ({"prompt_eval_count": 26, "eval_count": -1}, None),
    ],
)
def test_usage_is_normalised(raw: dict[str, Any], usage: Usage | None) -> None:
    assert normalised(raw) == usage


async def test_the_counts_of_the_server_are_kept() -> None:
    async with ollama() as (_, provider):
        raw = (await listen(provider, ASKED)).end.usage_raw
        assert raw is not None
        assert raw["load_duration"] == 101_397_084
        assert "done_reason" not in raw


@pytest.mark.parametrize("wrong", [{"model": ["x"]}, {"done_reason": 7}, {"message": "x"}])
async def test_an_end_of_another_form_is_no_answer(wrong: dict[str, Any]) -> None:
    end = {"message": {"role": "assistant", "content": "Yes."}, **last(), **wrong}
    async with ollama(json.dumps({"model": MODEL, **end}).encode() + b"\n") as (_, provider):
        with pytest.raises(BadResponse, match="Ollama's API"):
            await listen(provider, ASKED)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("an error was encountered while running the model", ProviderUnavailable),
        ("the input length exceeds the context length", ContextTooLong),
    ],
)
async def test_an_error_within_the_stream(message: str, expected: type[ProviderError]) -> None:
    error = json.dumps({"error": message}).encode() + b"\n"
    async with ollama(DIALECT.piece("The "), error) as (_, provider):
        with pytest.raises(expected, match=message):
            await listen(provider, ASKED)


# --- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("think", [True, False, "high"])
async def test_thinking_is_asked_for(think: bool | str) -> None:
    async with ollama(think=think) as (server, provider):
        assert not (await listen(provider, ASKED)).end.notes
        assert server.requests[0].body["think"] == think
    async with ollama(think=think, show=shown(able=("completion",))) as (server, provider):
        notes = (await listen(provider, ASKED)).end.notes
        assert ("think" in server.requests[0].body) is (think is False)
        assert bool(notes) is (think is not False)


async def test_what_a_tool_returned_names_the_tool() -> None:
    call = ToolCall(id="call_1", name="look_up", arguments='{"at":"cat"}')
    messages = (
        ChatMessage("user", "Where?"),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "On the mat.", tool_call_id="call_1"),
    )
    async with ollama() as (server, provider):
        await listen(provider, replace(ASKED, messages=messages))
        _, asked, returned = server.requests[0].body["messages"]
        assert asked["tool_calls"][0]["function"]["arguments"] == {"at": "cat"}
        assert returned["tool_name"] == "look_up"


async def test_a_server_that_takes_no_schema_is_asked_without() -> None:
    asked = replace(ASKED, parameters=Parameters(schema_={"type": "object"}))
    async with serving(
        DIALECT, DIALECT.failure(400, "invalid format: only json is supported"), status=400
    ) as (server, provider):
        server.reply(*HELLO, content_type=DIALECT.content_type)
        [note] = (await listen(provider, asked)).end.notes
        assert note.startswith("format: ")
        assert ["format" in request.body for request in server.requests] == [True, False]


@pytest.mark.parametrize(
    "said",
    [
        "invalid message content type: unsupported image format",
        "model does not exist in this format: please pull again",
        "invalid JSON schema in format",
    ],
)
async def test_other_words_about_formats_say_nothing_about_schemas(said: str) -> None:
    asked = replace(ASKED, parameters=Parameters(schema_={"type": "object"}))
    async with serving(DIALECT, DIALECT.failure(400, said), status=400) as (server, provider):
        with pytest.raises(ProviderError, match=said):
            await listen(provider, asked)
        assert len(server.requests) == 1


# --- templates -----------------------------------------------------------------------------------


RAW = [line(response="Hello.", done=False), line(response="", **last())]


async def test_a_template_of_the_participant_is_rendered_here() -> None:
    messages = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))
    asked = replace(
        ASKED,
        messages=messages,
        chat_template=TEMPLATE,
        parameters=Parameters(stop=("<user>",), temperature=0.5),
        tools=(Tool("look_up", "", {}),),
    )
    async with ollama(*RAW, think=True) as (server, provider):
        answered = await listen(provider, asked)
        assert answered.text == "Hello."
        assert [note.split(":")[0] for note in answered.end.notes] == ["tools"]
        [request] = server.requests
        assert request.path == "/api/generate"
        assert request.body == {
            "model": MODEL,
            "stream": True,
            "raw": True,
            "truncate": False,
            "shift": False,
            "prompt": "<system>Be brief.<user>Hello<assistant>",
            "options": {"num_ctx": CONTEXT, "temperature": 0.5, "stop": ["<user>"]},
        }


@pytest.mark.parametrize(
    ("template", "images", "why"),
    [("{{ raise_exception('no') }}", (), "no"), (TEMPLATE, (PICTURE,), "no pictures")],
)
async def test_a_template_that_cannot_be_used_sends_nothing(
    template: str, images: Any, why: str
) -> None:
    message = ChatMessage("user", "Hello", images=images)
    asked = replace(ASKED, messages=(message,), chat_template=template)
    async with ollama(*RAW) as (server, provider):
        with pytest.raises(ProviderError, match=why) as caught:
            await listen(provider, asked)
        assert not caught.value.retryable
        assert server.requests == []


# --- configuration -------------------------------------------------------------------------------


async def test_the_available_models_are_declared() -> None:
    async with ollama(available_models=["llama2", "mistral"]) as (server, provider):
        assert await provider.models() == ("llama2", "mistral")
        with pytest.raises(ModelNotFound, match=r"available_models.*llama2, mistral"):
            await listen(provider, ASKED)
        await listen(provider, replace(ASKED, model="mistral"))
        assert [request.body["model"] for request in server.requests] == ["mistral"]


async def test_a_local_server_is_asked_one_thing_at_a_time() -> None:
    async with ollama() as (_, provider):
        assert provider.limits.max_concurrency == 1
