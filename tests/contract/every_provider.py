"""Calls for the suite that every provider passes: a server of each dialect, and its provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.config import ProviderSpec, create
from actors.providers.http_provider import HttpProvider
from actors.providers.port import (
    Capabilities,
    ChatMessage,
    ChatRequest,
    Delta,
    Finished,
    Limits,
    Provider,
)
from events.prices import Prices
from tests.contract.provider_calls import made
from tests.servers.dialects import EVERY
from tests.servers.dialects.dialect import KEY, MODEL, Dialect, Feature, has, name_of
from tests.servers.dialects.llama_cpp import LlamaCppDialect
from tests.servers.dialects.oobabooga import LegacyDialect
from tests.servers.scripted import ScriptedServer, Step, listening

ASKED = ChatRequest(MODEL, (ChatMessage("user", "Say something about the event log."),))

every_provider = pytest.mark.parametrize("dialect", EVERY, ids=name_of)


def those_with(feature: Feature) -> pytest.MarkDecorator:
    """The dialects that do not lack it."""
    able = [dialect for dialect in EVERY if has(dialect, feature)]
    return pytest.mark.parametrize("dialect", able, ids=name_of)


def asked_of(dialect: Dialect, request: ChatRequest = ASKED) -> ChatRequest:
    """The request of a participant to whom that dialect is spoken."""
    return replace(request, chat_template=getattr(dialect, "chat_template", None))


class _Asked:
    """A provider whose participants bring the chat template of a dialect."""

    def __init__(self, provider: Provider, dialect: Dialect) -> None:
        self._provider = provider
        self._dialect = dialect

    @property
    def limits(self) -> Limits:
        return self._provider.limits

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        async with aclosing(self._provider.stream(asked_of(self._dialect, request))) as items:
            async for item in items:
                yield item

    async def models(self) -> tuple[str, ...]:
        return await self._provider.models()

    def capabilities(self, model: str) -> Capabilities:
        return self._provider.capabilities(model)

    def prices(self, model: str) -> Prices | None:
        return self._provider.prices(model)

    async def close(self) -> None:
        await self._provider.close()


@asynccontextmanager
async def serving(
    dialect: Dialect, *steps: Step, status: int = 200, **how: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    """A server that answers so, and a provider for it; `config` adds to its configuration."""
    config = how.pop("config", {})
    server = ScriptedServer(dialect.pages())
    how.setdefault("content_type", dialect.content_type if status == 200 else "application/json")
    server.reply(*steps, status=status, **how)
    with pytest.MonkeyPatch.context() as patch:
        async with listening(server):
            if isinstance(dialect, LlamaCppDialect):
                patch.setattr("actors.providers.llama_cpp.started", dialect.started(server.url))
            # Only now has it an address.
            async with made(dialect.type, **{**dialect.config(server.url), **config}) as provider:
                templated = hasattr(dialect, "chat_template")
                yield server, _Asked(provider, dialect) if templated else provider


def answer(dialect: Dialect, *pieces: str, finish: str = "stop") -> list[bytes]:
    """A complete answer in those pieces."""
    return [*dialect.begin(), *(dialect.piece(piece) for piece in pieces), *dialect.end(finish)]


_READERS: dict[tuple[str, bool], HttpProvider] = {}


def reader(dialect: Dialect, *, stream: bool = True) -> HttpProvider:
    """What reads the answers of that dialect, made once; nobody listens where it asks."""
    key = name_of(dialect), stream
    if key not in _READERS:
        _READERS[key] = _reader(dialect, stream)
    return _READERS[key]


def _reader(dialect: Dialect, stream: bool) -> HttpProvider:
    if isinstance(dialect, LlamaCppDialect):
        return dialect.reader("the-provider")
    config = dialect.config("http://127.0.0.1:9")
    if not stream:
        config["stream"] = False
    spec = ProviderSpec(id="the-provider", type=dialect.type, config=config)
    provider = create(spec, {"KEY": KEY})
    assert isinstance(provider, HttpProvider)
    if isinstance(dialect, LegacyDialect):
        # Which of its two APIs a server has is found out by asking it.
        vars(provider)["_legacy"] = True
    return provider
