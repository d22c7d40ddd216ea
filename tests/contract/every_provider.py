"""Calls for the suite that every provider passes: a server of each dialect, and its provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.providers.port import ChatMessage, ChatRequest, Provider
from tests.contract.provider_calls import made
from tests.servers.dialects import DIALECTS
from tests.servers.dialects.dialect import MODEL, Dialect
from tests.servers.scripted import ScriptedServer, Step, listening

ASKED = ChatRequest(MODEL, (ChatMessage("user", "Say something about the event log."),))


def _name(dialect: Dialect) -> str:
    return str(getattr(dialect, "name", dialect.type))


every_provider = pytest.mark.parametrize("dialect", DIALECTS, ids=_name)


def those_with(feature: str) -> pytest.MarkDecorator:
    """The dialects that have it, such as `tools`."""
    able = [one for one in DIALECTS if getattr(one, f"has_{feature}")]
    return pytest.mark.parametrize("dialect", able, ids=_name)


@asynccontextmanager
async def serving(
    dialect: Dialect, *steps: Step, status: int = 200, **how: Any
) -> AsyncIterator[tuple[ScriptedServer, Provider]]:
    """A server that answers so, and a provider for it; `config` adds to its configuration."""
    config = how.pop("config", {})
    server = ScriptedServer(dialect.pages())
    how.setdefault("content_type", dialect.content_type if status == 200 else "application/json")
    server.reply(*steps, status=status, **how)
    async with (
        listening(server),
        # Only now has it an address.
        made(dialect.type, **{**dialect.config(server.url), **config}) as provider,
    ):
        yield server, provider


def answer(dialect: Dialect, *pieces: str, finish: str = "stop") -> list[bytes]:
    """A complete answer in those pieces."""
    return [*dialect.begin(), *(dialect.piece(piece) for piece in pieces), *dialect.end(finish)]
