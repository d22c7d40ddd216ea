"""What only LM Studio does: models that are loaded or not, and their contexts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.chat_completions import normalised
from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, Provider
from events.errors import (
    AuthenticationFailed,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import listen, made
from tests.servers import chat
from tests.servers.dialects.dialect import MODEL, PICTURE
from tests.servers.dialects.lmstudio import NEWER, OLDER, LMStudioDialect, Told, page
from tests.servers.scripted import ScriptedServer, listening

LMSTUDIO = LMStudioDialect()
HELLO = answer(LMSTUDIO, "Hello.")
every_release = pytest.mark.parametrize("release", [NEWER, OLDER])


@asynccontextmanager
async def lmstudio(
    pages: dict[str, Any], **config: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    """A server with these pages of its own API, and no others."""
    async with serving(LMSTUDIO, *HELLO, config=config) as (server, provider):
        del server.pages[NEWER]
        server.pages.update(pages)
        yield server, provider


async def test_the_address_may_end_with_v1_or_not() -> None:
    for end in ("", "/v1", "/v1/"):
        server = ScriptedServer(LMSTUDIO.pages())
        server.reply(*HELLO)
        async with listening(server), made("lmstudio", base_url=server.url + end) as provider:
            assert (await listen(provider, ASKED)).text == "Hello."
            assert server.requests[0].path == "/v1/chat/completions"
    options: Any = create(ProviderSpec(id="one", type="lmstudio"), {})
    assert options._options.base_url == "http://localhost:1234"
    assert options.limits.max_concurrency == 1


@every_release
async def test_models_that_are_loaded_come_first_and_embeddings_not_at_all(release: str) -> None:
    told = page(
        release,
        Told("cold"),
        Told("warm", loaded=4096),
        Told("nomic", "embeddings"),
        Told("seeing", "vlm"),
    )
    async with lmstudio({release: told}) as (_, provider):
        assert await provider.models() == ("warm", "cold", "seeing")


@every_release
@pytest.mark.parametrize(
    ("told", "context", "images"),
    [
        (Told(MODEL, "vlm", loaded=4096), 4096, True),
        (Told(MODEL, loaded=4096), 4096, False),
        (Told(MODEL), 131_072, False),
        (Told(MODEL, longest=None), 2048, False),
        (Told("another"), 2048, True),
    ],
)
async def test_what_a_model_can_do_is_learned(
    release: str, told: Told, context: int, images: bool
) -> None:
    pages = {release: page(release, told)}
    async with lmstudio(pages, context_length=2048) as (_, provider):
        before = provider.capabilities(MODEL)
        assert (before.context_length, before.images) == (2048, True)
        await listen(provider, ASKED)
        able = provider.capabilities(MODEL)
        assert (able.context_length, able.images) == (context, images)


async def test_a_model_without_eyes_is_not_shown_a_picture() -> None:
    asked = replace(ASKED, messages=(ChatMessage("user", "What?", images=(PICTURE,)),))
    pages = {NEWER: page(NEWER, Told(MODEL, loaded=4096))}
    async with lmstudio(pages) as (server, provider):
        with pytest.raises(ProviderError, match="takes no pictures"):
            await listen(provider, asked)
        assert server.requests == []


@every_release
async def test_that_a_model_had_to_be_loaded_is_noted(release: str) -> None:
    async with lmstudio({release: page(release, Told(MODEL))}) as (server, provider):
        [note] = (await listen(provider, ASKED)).end.notes
        assert note.startswith("not-loaded: ")
        server.pages[release] = page(release, Told(MODEL, loaded=4096))
        assert (await listen(provider, ASKED)).end.notes == ()
        assert provider.capabilities(MODEL).context_length == 4096


UNEXPECTED = {"error": "Unexpected endpoint or method. (GET)"}


@pytest.mark.parametrize("told", [UNEXPECTED, {}, [], {"models": 7}, None])
async def test_the_newer_list_is_asked_for_first_and_whichever_answers_from_then_on(
    told: Any,
) -> None:
    pages = {OLDER: page(OLDER, Told("older", loaded=1)), **({} if told is None else {NEWER: told})}
    async with lmstudio(pages) as (server, provider):
        await listen(provider, ASKED)
        await listen(provider, ASKED)
        assert server.asked_for == [NEWER, OLDER, OLDER]
        assert await provider.models() == ("older",)
        # After an update of the server the newer one is found as soon as models are listed.
        server.pages[NEWER] = page(NEWER, Told("newer"))
        assert await provider.models() == ("newer",)
        server.asked_for.clear()
        await listen(provider, ASKED)
        assert server.asked_for == [NEWER]


@pytest.mark.parametrize("told", [UNEXPECTED, {}, [], None])
async def test_an_old_release_tells_less(told: Any) -> None:
    async with lmstudio({} if told is None else {NEWER: told, OLDER: told}) as (server, provider):
        assert (await listen(provider, ASKED)).text == "Hello."
        await listen(provider, ASKED)
        assert server.asked_for == [NEWER, OLDER]
        assert provider.capabilities(MODEL).images
        assert await provider.models() == (MODEL,)


async def test_each_loaded_instance_of_a_model_is_one() -> None:
    told = Told(MODEL, "vlm", loaded=4096).newer()
    told["loaded_instances"].insert(0, {"id": f"{MODEL}:2", "config": {"context_length": 512}})
    async with lmstudio({NEWER: {"models": [told]}}) as (_, provider):
        assert await provider.models() == (MODEL, f"{MODEL}:2")
        assert provider.capabilities(MODEL).context_length == 4096
        assert provider.capabilities(f"{MODEL}:2").context_length == 512
        assert provider.capabilities(f"{MODEL}:2").images
        del told["loaded_instances"][1]
        await provider.models()
        assert provider.capabilities(MODEL).context_length == 512


@pytest.mark.parametrize(
    "more",
    [
        {"loaded_instances": 7, "capabilities": [], "max_context_length": "long"},
        {"loaded_instances": ["a", None], "capabilities": None, "max_context_length": -1},
        {"loaded_instances": [{"id": 7, "config": "none"}], "type": None},
    ],
)
async def test_what_is_told_otherwise_than_documented_is_not_known(more: dict[str, Any]) -> None:
    told = {**Told(MODEL).newer(), "max_context_length": None, **more}
    async with lmstudio({NEWER: {"models": [told]}}, context_length=2048) as (_, provider):
        assert (await listen(provider, ASKED)).text == "Hello."
        assert provider.capabilities(MODEL).context_length == 2048


async def test_silent_truncation_is_found() -> None:
    long = replace(ASKED, messages=(ChatMessage("user", "some words " * 500),))
    pages = {NEWER: page(NEWER, Told(MODEL, loaded=4096))}
    async with lmstudio(pages) as (_, provider):
        [note] = (await listen(provider, long)).end.notes
        assert note.startswith("truncated: the server read 10 tokens of at least 1000")
        assert "4096" in note


TOO_LONG = "The number of tokens to keep from the initial prompt is greater than the context length"
ERRORS: list[tuple[int, Any, type[ProviderError]]] = [
    (400, {"error": f"{TOO_LONG} (n_keep: 13055>= n_ctx: 4096)"}, ContextTooLong),
    (200, {"error": {"message": TOO_LONG, "type": "internal_error"}}, ContextTooLong),
    (200, {"error": "Unexpected endpoint or method. (POST /v1)"}, ProviderUnavailable),
    (404, {"error": {"message": "No models loaded. Please load a model."}}, ModelNotFound),
    (401, {"error": {"message": "An LM Studio API token is required"}}, AuthenticationFailed),
]


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
async def test_a_refusal_has_its_class(
    status: int, body: Any, expected: type[ProviderError]
) -> None:
    async with serving(LMSTUDIO) as (server, provider):
        server.replies.clear()
        server.reply(json.dumps(body).encode(), status=status, content_type="application/json")
        with pytest.raises(expected):
            await listen(provider, ASKED)


async def test_an_error_within_the_stream() -> None:
    error = b"event: error\n" + chat.event({"error": {"message": TOO_LONG}})
    async with serving(LMSTUDIO, LMSTUDIO.piece("The "), error) as (_, provider):
        with pytest.raises(ContextTooLong):
            await listen(provider, ASKED)


async def test_a_server_that_is_down_is_not_taken_for_an_old_one() -> None:
    async with made("lmstudio", base_url="http://127.0.0.1:9") as provider:
        with pytest.raises(ProviderUnavailable):
            await listen(provider, ASKED)
        with pytest.raises(ProviderUnavailable):
            await provider.models()


def test_usage_is_normalised() -> None:
    # LM Studio's documentation, "REST API", POST /api/v0/chat/completions
    raw = {"prompt_tokens": 24, "completion_tokens": 53, "total_tokens": 77}
    assert normalised(raw) == Usage(input=24, output=53)
