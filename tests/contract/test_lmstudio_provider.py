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
from tests.servers.dialects.lmstudio import LMStudioDialect, state, states
from tests.servers.scripted import ScriptedServer, listening

LMSTUDIO = LMStudioDialect()
HELLO = answer(LMSTUDIO, "Hello.")
STATES = "/api/v0/models"


@asynccontextmanager
async def lmstudio(
    told: Any, *steps: Any, **config: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    async with serving(LMSTUDIO, *(steps or HELLO), config=config) as (server, provider):
        server.pages[STATES] = told
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


async def test_models_that_are_loaded_come_first_and_embeddings_not_at_all() -> None:
    told = states(
        state("cold"),
        state("warm", loaded=4096),
        state("nomic", "embeddings"),
        state("seeing", "vlm"),
    )
    async with lmstudio(told) as (_, provider):
        assert await provider.models() == ("warm", "cold", "seeing")


@pytest.mark.parametrize(
    ("told", "context", "images"),
    [
        (state(MODEL, "vlm", loaded=4096), 4096, True),
        (state(MODEL, loaded=4096), 4096, False),
        (state(MODEL), 131_072, False),
        (state(MODEL, max_context_length=None), 2048, False),
        (state("another"), 2048, True),
    ],
)
async def test_what_a_model_can_do_is_learned(
    told: dict[str, Any], context: int, images: bool
) -> None:
    async with lmstudio(states(told), context_length=2048) as (_, provider):
        before = provider.capabilities(MODEL)
        assert (before.context_length, before.images) == (2048, True)
        await listen(provider, ASKED)
        able = provider.capabilities(MODEL)
        assert (able.context_length, able.images) == (context, images)


async def test_a_model_without_eyes_is_not_shown_a_picture() -> None:
    asked = replace(ASKED, messages=(ChatMessage("user", "What?", images=(PICTURE,)),))
    async with lmstudio(states(state(MODEL, loaded=4096))) as (server, provider):
        with pytest.raises(ProviderError, match="takes no pictures"):
            await listen(provider, asked)
        assert server.requests == []


async def test_that_a_model_had_to_be_loaded_is_noted() -> None:
    async with lmstudio(states(state(MODEL))) as (server, provider):
        [note] = (await listen(provider, ASKED)).end.notes
        assert note.startswith("not-loaded: ")
        server.pages[STATES] = states(state(MODEL, loaded=4096))
        assert (await listen(provider, ASKED)).end.notes == ()
        assert provider.capabilities(MODEL).context_length == 4096


@pytest.mark.parametrize("told", [{"error": "Unexpected endpoint or method. (GET)"}, {}, [], None])
async def test_an_old_release_tells_less(told: Any) -> None:
    async with lmstudio(told) as (server, provider):
        if told is None:
            del server.pages[STATES]
        assert (await listen(provider, ASKED)).text == "Hello."
        await listen(provider, ASKED)
        assert server.asked_for == [STATES]
        assert provider.capabilities(MODEL).images
        assert await provider.models() == (MODEL,)


async def test_silent_truncation_is_found() -> None:
    long = replace(ASKED, messages=(ChatMessage("user", "some words " * 500),))
    async with lmstudio(states(state(MODEL, loaded=4096))) as (_, provider):
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
