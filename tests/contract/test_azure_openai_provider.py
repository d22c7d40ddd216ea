"""What only Azure OpenAI does: deployments, versions, Entra ID, and its content filter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.chat_completions import normalised
from actors.providers.config import ProviderSpec, check, parse
from actors.providers.port import Provider
from events.errors import (
    AuthenticationFailed,
    ConfigError,
    ContentFiltered,
    ModelNotFound,
    ProviderUnavailable,
)
from events.values import Usage
from tests.contract.every_provider import ASKED, answer, serving
from tests.contract.provider_calls import Answered, listen
from tests.servers.dialects.azure_openai import (
    DEPLOYMENT,
    SAFE,
    VERSION,
    AzureDialect,
    AzureV1Dialect,
    filtered,
    refused_prompt,
)
from tests.servers.dialects.dialect import KEY, MODEL
from tests.servers.entra import CLIENT, SECRET, TENANT, TokenServer, token_server
from tests.servers.scripted import ScriptedServer
from tests.waiting import eventually

DATED, UNDATED = AzureDialect(), AzureV1Dialect()
HARM = {
    **SAFE,
    "hate": {"filtered": True, "severity": "high"},
    "custom_blocklists": [{"filtered": True, "id": "words"}],
}


@pytest.mark.parametrize(
    ("dialect", "version", "query"),
    [
        (DATED, VERSION, {"api-version": VERSION}),
        (UNDATED, "v1", {}),
        (UNDATED, "preview", {"api-version": "preview"}),
    ],
)
async def test_the_version_chooses_the_surface(
    dialect: AzureDialect, version: str, query: dict[str, str]
) -> None:
    async with serving(dialect, *answer(dialect, "Yes."), config={"api_version": version}) as (
        server,
        provider,
    ):
        assert (await listen(provider, ASKED)).text == "Yes."
        assert server.requests[0].query == query
        dialect.sent(server.requests[0].path, server.requests[0].body)


async def test_the_models_are_the_deployments() -> None:
    async with serving(DATED, *answer(DATED, "Yes.")) as (server, provider):
        assert await provider.models() == (MODEL,)
        assert provider.capabilities(MODEL).context_length == 8192
        with pytest.raises(ModelNotFound, match=f"deployments, or use one of {MODEL}"):
            await listen(provider, replace(ASKED, model="gpt-9"))
        assert server.requests == []


async def test_a_deployment_that_is_gone_is_named() -> None:
    body = DATED.failure(404, "The API deployment for this resource does not exist.")
    async with serving(DATED, body, status=404) as (_, provider):
        with pytest.raises(ModelNotFound, match=f"{DEPLOYMENT}.*{MODEL}.*does not exist"):
            await listen(provider, ASKED)


# --- the content filter ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [DATED, UNDATED])
async def test_a_refused_prompt_names_the_categories(dialect: AzureDialect) -> None:
    async with serving(dialect, refused_prompt(), status=400) as (_, provider):
        with pytest.raises(ContentFiltered) as caught:
            await listen(provider, ASKED)
    assert not caught.value.retryable
    assert "violence, severity medium; jailbreak" in caught.value.message
    assert "hate" not in caught.value.message


async def test_a_category_is_told_without_a_secret() -> None:
    body = refused_prompt().replace(b"violence", KEY.encode())
    async with serving(DATED, body, status=400) as (_, provider):
        with pytest.raises(ContentFiltered, match=r"\[secret\], severity medium") as caught:
            await listen(provider, ASKED)
    assert KEY not in caught.value.message


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "asynchronous-filter"])
async def test_an_answer_that_is_broken_off_names_the_categories(late: bool) -> None:
    finish, told, *rest = DATED.end("content_filter")
    steps = [finish, filtered(told, HARM)] if late else [filtered(finish, HARM)]
    answered = Answered()
    async with serving(DATED, *DATED.begin(), DATED.piece("I "), *steps, *rest) as (_, provider):
        with pytest.raises(ContentFiltered, match="hate, severity high; custom_blocklists"):
            await listen(provider, ASKED, answered)
    assert answered.text == "I "


async def test_a_whole_answer_that_is_broken_off_names_the_categories() -> None:
    body = json.loads(DATED.body(""))
    body["choices"][0] |= {"finish_reason": "content_filter", "content_filter_results": HARM}
    how: dict[str, Any] = {"content_type": "application/json", "config": {"stream": False}}
    async with serving(DATED, json.dumps(body).encode(), **how) as (_, provider):
        with pytest.raises(ContentFiltered, match="hate, severity high"):
            await listen(provider, ASKED)


# --- credentials -------------------------------------------------------------------------------


async def test_a_token_that_is_given_is_sent() -> None:
    config = {"api_key": None, "azure_ad_token": "${KEY}"}
    async with serving(DATED, *answer(DATED, "Yes."), config=config) as (server, provider):
        await listen(provider, ASKED)
        headers = server.requests[0].headers
        assert headers["Authorization"] == "Bearer marked-secret-5f3b9c"
        assert "api-key" not in headers


@asynccontextmanager
async def with_entra(
    secret: str = SECRET,
) -> AsyncIterator[tuple[ScriptedServer, Provider, TokenServer]]:
    async with token_server() as tokens:
        entra = {
            "tenant_id": TENANT,
            "client_id": CLIENT,
            "client_secret": secret,
            "authority": tokens.url,
        }
        config = {"api_key": None, "entra": entra}
        async with serving(DATED, *answer(DATED, "Yes."), config=config) as (server, provider):
            yield server, provider, tokens


def sent_tokens(server: ScriptedServer) -> list[str]:
    return [request.headers["Authorization"] for request in server.requests]


async def test_a_token_is_fetched_once_and_kept() -> None:
    async with with_entra() as (server, provider, tokens):
        await asyncio.gather(*(listen(provider, ASKED) for _ in range(5)))
        assert sent_tokens(server) == ["Bearer token-1"] * 5
        [form] = tokens.forms
        assert form == {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": "https://cognitiveservices.azure.com/.default",
        }


async def test_a_token_is_renewed_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("actors.providers.entra.monotonic", lambda: now)
    async with with_entra() as (server, provider, tokens):
        await listen(provider, ASKED)
        now += 3599 - 301
        await listen(provider, ASKED)
        now += 2

        async def renewed() -> bool:
            await listen(provider, ASKED)
            return sent_tokens(server)[-1] == "Bearer token-2"

        await eventually(renewed, within=20, what="the renewed token")
        assert sent_tokens(server)[:3] == ["Bearer token-1"] * 3, "nobody waits for it"
        assert len(tokens.forms) == 2
        # One that cannot be renewed is used as long as it is valid, and no longer.
        tokens.down = True
        now += 3500
        await listen(provider, ASKED)
        await eventually(lambda: len(tokens.forms) == 3, within=20, what="another renewal")
        await eventually(lambda: "no token" in caplog.text, within=20, what="its failure")
        await listen(provider, ASKED)
        assert sent_tokens(server)[-1] == "Bearer token-2"
        assert len(tokens.forms) == 3, "after a failure there is a pause"
        now += 31
        await listen(provider, ASKED)
        await eventually(lambda: len(tokens.forms) == 4, within=20, what="the next renewal")
        now += 100
        with pytest.raises(ProviderUnavailable, match="no token from Entra ID"):
            await listen(provider, ASKED)


async def test_a_token_service_that_says_nothing_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("actors.providers.entra.monotonic", lambda: now)
    async with with_entra() as (server, provider, tokens):
        await listen(provider, ASKED)
        tokens.silent = True
        now += 3599 - 290
        async with asyncio.timeout(5):
            await asyncio.gather(*(listen(provider, ASKED) for _ in range(8)))
        assert sent_tokens(server) == ["Bearer token-1"] * 9
        await eventually(lambda: len(tokens.forms) == 2, within=20, what="one renewal for all")


async def test_without_a_token_all_fail_together_and_not_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.providers.entra.TOKEN_WITHIN", 0.3)
    async with with_entra() as (server, provider, tokens):
        tokens.silent = True
        calls = [listen(provider, ASKED) for _ in range(8)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(failure) for failure in failures} == {ProviderUnavailable}
        assert len(tokens.forms) == 1
        assert server.requests == []


async def test_a_token_that_is_not_taken_is_fetched_anew() -> None:
    async with with_entra() as (server, provider, _):
        server.replies.insert(0, replace(server.replies[0], status=401, steps=()))
        with pytest.raises(AuthenticationFailed):
            await listen(provider, ASKED)
        await listen(provider, ASKED)
        assert sent_tokens(server) == ["Bearer token-1", "Bearer token-2"]


async def test_a_wrong_client_secret_is_named_and_not_told() -> None:
    async with with_entra(secret="another-marked-secret") as (server, provider, _):
        with pytest.raises(AuthenticationFailed, match="client_secret") as caught:
            await listen(provider, ASKED)
        assert "AADSTS7000215" in caught.value.message
        assert "another-marked-secret" not in caught.value.message
        assert server.requests == []


def test_only_one_credential_may_be_given() -> None:
    config = {**DATED.config("https://a.openai.azure.com"), "azure_ad_token": "${TOKEN}"}
    with pytest.raises(ConfigError, match="only one of api_key"):
        check(ProviderSpec(id="azure", type="azure_openai", config=config))


def test_the_configuration_of_the_blueprint_loads() -> None:
    [spec] = parse(
        """{"providers": [{"id": "azure_gpt4", "type": "azure_openai", "config": {
        "endpoint": "https://my-resource.openai.azure.com", "api_key": "${AZURE_OPENAI_KEY}",
        "api_version": "2024-02-15-preview", "deployments": {
        "gpt-4": {"name": "gpt-4-deployment", "context_length": 8192},
        "gpt-4-turbo": {"name": "gpt-4-turbo-deployment", "context_length": 128000}}}}]}"""
    )
    assert spec.type == "azure_openai"


def test_usage_of_the_vendor_s_documented_example() -> None:
    # "Prompt caching", Azure OpenAI documentation.
    raw = {
        "completion_tokens": 1518,
        "prompt_tokens": 1566,
        "total_tokens": 3084,
        "completion_tokens_details": {"audio_tokens": None, "reasoning_tokens": 576},
        "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 1408},
    }
    assert normalised(raw) == Usage(input=158, cache_read=1408, output=942, reasoning=576)
