"""What only text-generation-webui does: two APIs, its templates, the model that it has loaded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.chat_completions import normalised
from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, Finished, Provider, Tool
from events.errors import (
    AuthenticationFailed,
    BadResponse,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Parameters, Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen, made
from tests.servers import chat
from tests.servers.dialects.dialect import KEY, MODEL, PICTURE, SERVED
from tests.servers.dialects.oobabooga import OobaboogaDialect
from tests.servers.scripted import HANG, ScriptedServer, Step, listening
from tests.waiting import eventually

WEBUI = OobaboogaDialect()
HELLO = answer(WEBUI, "Hello.")
OLD_PAGES = {"/api/v1/model": {"result": MODEL}, "/api/v1/stop-stream": {"results": "success"}}
TALK = (
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "Hello"),
    ChatMessage("assistant", "Hi"),
    ChatMessage("user", "And now?"),
)


def told(text: str) -> bytes:
    """The answer of the old API."""
    return json.dumps({"results": [{"text": text}]}).encode()


@asynccontextmanager
async def old(*steps: Step, **config: Any) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    """A server that has the old API alone."""
    server = ScriptedServer(OLD_PAGES)
    server.reply(*(steps or [told(" Hello.")]), content_type="application/json")
    async with (
        listening(server),
        made("oobabooga", base_url=server.url, api_key="${KEY}", **config) as provider,
    ):
        yield server, provider


# --- which API -----------------------------------------------------------------------------------


async def test_the_newer_api_is_asked_where_it_is_there() -> None:
    async with serving(WEBUI, *HELLO) as (server, provider):
        await listen(provider, ASKED)
        await listen(provider, ASKED)
        assert server.asked_for == ["/v1/models"]
        assert {request.path for request in server.requests} == {"/v1/chat/completions"}


async def test_the_old_api_is_asked_where_it_alone_is_there() -> None:
    async with old() as (server, provider):
        answered = await listen(provider, ASKED)
        assert answered.text == "Hello."
        assert answered.end.finish_reason == "stop"
        assert answered.end.usage is None
        assert answered.end.served_model == MODEL
        assert [request.path for request in server.requests] == ["/api/v1/generate"]
        assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
        assert await provider.models() == (MODEL,)
        able = provider.capabilities(MODEL)
        assert (able.tools, able.images, able.structured_output) == (False, False, False)
        assert able.chat_template


@pytest.mark.parametrize("end", ["", "/v1", "/v1/", "/api", "/api/v1"])
async def test_the_address_may_name_the_api_or_not(end: str) -> None:
    server = ScriptedServer(WEBUI.pages())
    server.reply(*HELLO)
    async with listening(server), made("oobabooga", base_url=server.url + end) as provider:
        assert (await listen(provider, ASKED)).text == "Hello."


def test_the_usual_address_is_known() -> None:
    provider: Any = create(ProviderSpec(id="one", type="oobabooga"), {})
    assert provider._options.base_url == "http://localhost:5000"
    assert provider.limits.max_concurrency == 1


async def test_after_a_loss_of_the_server_it_is_found_anew() -> None:
    async with old() as (server, provider):
        await listen(provider, ASKED)
        server.replies.clear()
        server.reply(hang_up=True)
        with pytest.raises(ProviderUnavailable):
            await listen(provider, ASKED)
        server.pages.clear()
        server.pages.update(WEBUI.pages())
        server.replies.clear()
        server.reply(*HELLO)
        assert (await listen(provider, ASKED)).text == "Hello."
        assert server.requests[-1].path == "/v1/chat/completions"


async def test_a_server_with_neither_api_is_told_apart() -> None:
    for pages in ({}, {"/api/v1/model": {"detail": "what?"}}):
        server = ScriptedServer(pages)
        async with listening(server), made("oobabooga", base_url=server.url) as provider:
            with pytest.raises((BadResponse, ModelNotFound), match="address"):
                await listen(provider, ASKED)


async def test_a_server_that_is_down_is_not_taken_for_an_old_one() -> None:
    async with made("oobabooga", base_url="http://127.0.0.1:9") as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.models()


# --- the newer API -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "extra", "key"),
    [
        ({}, {}, "instruction_template_str"),
        ({"mode": "instruct"}, {}, "instruction_template_str"),
        ({"mode": "chat"}, {}, "chat_template_str"),
        ({}, {"mode": "chat-instruct"}, "chat_template_str"),
    ],
)
async def test_a_template_of_the_participant_is_sent_along(
    config: dict[str, Any], extra: dict[str, Any], key: str
) -> None:
    asked = replace(ASKED, chat_template="{{ messages }}", parameters=Parameters(extra=extra))
    async with serving(WEBUI, *HELLO, config=config) as (server, provider):
        assert provider.capabilities(MODEL).chat_template
        await listen(provider, asked)
        body = server.requests[0].body
        assert body[key] == "{{ messages }}"
        assert body.get("mode") == {**config, **extra}.get("mode")
        assert body["messages"]


async def test_that_another_model_answered_is_noted() -> None:
    async with serving(WEBUI, *HELLO) as (_, provider):
        [note] = (await listen(provider, ASKED)).end.notes
        assert note.startswith("model: ")
        assert (await listen(provider, replace(ASKED, model=SERVED))).end.notes == ()


async def test_a_server_without_a_model_gives_no_answer() -> None:
    steps = [chat.chunk("", model="None"), chat.chunk(finish="stop", model="None"), chat.DONE]
    async with serving(WEBUI, *steps) as (server, provider):
        with pytest.raises(ModelNotFound, match="no model loaded"):
            await listen(provider, ASKED)
        server.pages["/v1/models"] = {"object": "list", "data": [{"id": "None"}]}
        assert await provider.models() == ()


async def test_a_schema_is_not_sent_to_where_nobody_reads_it() -> None:
    asked = replace(ASKED, parameters=Parameters(schema_={"type": "object"}))
    async with serving(WEBUI, *HELLO) as (server, provider):
        assert not provider.capabilities(MODEL).structured_output
        notes = (await listen(provider, asked)).end.notes
        assert any(note.startswith("response_format: ") for note in notes)
        assert "response_format" not in server.requests[0].body


async def test_silent_truncation_is_found() -> None:
    long = replace(ASKED, model=SERVED, messages=(ChatMessage("user", "some words " * 500),))
    async with serving(WEBUI, *HELLO) as (_, provider):
        [note] = (await listen(provider, long)).end.notes
        assert note.startswith("truncated: the server read 10 tokens of at least 1000")


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (401, {"detail": "Unauthorized"}, AuthenticationFailed, "Unauthorized"),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, ProviderError, "bad"),
        (400, {"detail": "Invalid host header"}, ProviderError, "Invalid host header"),
    ],
)
async def test_a_refusal_has_its_class(
    status: int, body: Any, expected: type[ProviderError], words: str
) -> None:
    async with serving(WEBUI, json.dumps(body).encode(), status=status) as (_, provider):
        with pytest.raises(expected, match=words):
            await listen(provider, ASKED)


def test_usage_is_normalised() -> None:
    # text-generation-webui, modules/api/completions.py: the counts of a whole chat completion
    raw = {"prompt_tokens": 31, "completion_tokens": 12, "total_tokens": 43}
    assert normalised(raw) == Usage(input=31, output=12)


# --- the old API ---------------------------------------------------------------------------------


async def test_the_conversation_becomes_one_text() -> None:
    parameters = Parameters(temperature=0.5, top_p=0.9, seed=4, stop=("END",), max_tokens=77)
    async with old() as (server, provider):
        await listen(provider, replace(ASKED, messages=TALK, parameters=parameters))
        assert server.requests[0].body == {
            "prompt": "Be brief.\n\nUSER: Hello\nASSISTANT: Hi\nUSER: And now?\nASSISTANT:",
            "stopping_strings": ["END", "\nUSER:"],
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "max_new_tokens": 77,
        }


@pytest.mark.parametrize("own", [True, False], ids=["participant", "provider"])
async def test_another_template_is_taken_instead(own: bool) -> None:
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    asked = replace(
        ASKED,
        messages=TALK[1:2],
        chat_template=template if own else None,
        parameters=Parameters(stop=("[user]",), extra={"max_new_tokens": 5, "top_k": 3}),
    )
    async with old(chat_template="{{ 'theirs' }}" if own else template) as (server, provider):
        await listen(provider, asked)
        assert server.requests[0].body == {
            "prompt": "[user]Hello[assistant]",
            "stopping_strings": ["[user]"],
            "max_new_tokens": 5,
            "top_k": 3,
        }


async def test_the_coldest_temperature_is_no_sampling() -> None:
    async with old(max_new_tokens=9) as (server, provider):
        await listen(provider, replace(ASKED, parameters=Parameters(temperature=0)))
        body = server.requests[0].body
        assert body["do_sample"] is False
        assert "temperature" not in body
        assert body["max_new_tokens"] == 9


async def test_what_the_old_api_cannot_is_noted_or_refused() -> None:
    asked = replace(
        ASKED,
        model="another",
        tools=(Tool("look_up", "", {}),),
        parameters=Parameters(schema_={"type": "object"}),
    )
    async with old() as (server, provider):
        notes = (await listen(provider, asked)).end.notes
        assert [note.split(":")[0] for note in notes] == [
            "finish_reason",
            "tools",
            "response_format",
            "model",
        ]
        picture = ChatMessage("user", "What is this?", images=(PICTURE,))
        with pytest.raises(ProviderError, match="no pictures"):
            await listen(provider, replace(ASKED, messages=(picture,)))
        assert len(server.requests) == 1


async def test_the_old_api_without_a_model_is_not_asked() -> None:
    async with old() as (server, provider):
        server.pages["/api/v1/model"] = {"result": "None"}
        assert await provider.models() == ()
        with pytest.raises(ModelNotFound, match="no model loaded"):
            await listen(provider, ASKED)
        assert server.requests == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"results": []}', b'{"results": [{"text": 7}]}', b"[1]", b"\xff"]
)
async def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    async with old(body) as (_, provider):
        with pytest.raises(BadResponse):
            await listen(provider, ASKED)


async def test_cancel_stops_the_old_api_which_does_not_notice() -> None:
    async with old(HANG) as (server, provider):
        task = asyncio.create_task(listen(provider, ASKED))
        await eventually(lambda: server.requests, within=20, what="the server works")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 20)
        assert server.asked_for[-1] == "/api/v1/stop-stream"


async def test_a_late_answer_of_the_old_api_is_stopped() -> None:
    async with old(HANG, answer_timeout=0.2) as (server, provider):
        with pytest.raises(ProviderUnavailable, match="answer_timeout"):
            await listen(provider, ASKED)
        assert server.asked_for[-1] == "/api/v1/stop-stream"


async def test_an_answer_that_is_complete_stops_nobody_else() -> None:
    async with old() as (server, provider):
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                if isinstance(item, Finished):
                    break
        assert "/api/v1/stop-stream" not in server.asked_for
