"""Calls of a provider, for the tests of what providers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from actors.providers.config import ProviderSpec, create
from actors.providers.port import ChatMessage, ChatRequest, Delta, Finished, Provider
from tests.servers.chat import ChatServer, chat_server

KEY = "marked-secret-5f3b9c"
HEADER = "marked-header-71d0aa"
ASKED = ChatRequest("a-model", (ChatMessage("user", "Say something about the event log."),))


@dataclass
class Answered:
    """All that one stream brought."""

    deltas: list[Delta] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if delta.channel == "text")

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if delta.channel == "reasoning")

    @property
    def end(self) -> Finished:
        assert self.finished is not None
        return self.finished


async def listen(provider: Provider, asked: ChatRequest, into: Answered | None = None) -> Answered:
    """Reads a whole stream; what came before an error is in `into`."""
    answered = into or Answered()
    async with aclosing(provider.stream(asked)) as stream:
        async for item in stream:
            assert answered.finished is None, "nothing comes after the end"
            if isinstance(item, Finished):
                answered.finished = item
            else:
                assert item.text, "a delta has at least one character"
                answered.deltas.append(item)
    assert answered.finished is not None, "a stream without an end raises"
    return answered


@asynccontextmanager
async def made(type: str, **config: Any) -> AsyncIterator[Provider]:
    """A provider of that type, with `KEY` in its environment."""
    provider = create(ProviderSpec(id="the-provider", type=type, config=config), {"KEY": KEY})
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def scripted(**config: Any) -> AsyncIterator[tuple[ChatServer, Provider]]:
    """A server that does what the test says, and a provider that holds secrets for it."""
    async with (
        chat_server() as server,
        made(
            "openai",
            **{
                "base_url": server.base_url,
                "api_key": "${KEY}",
                "headers": {"X-Extra": HEADER},
                **config,
            },
        ) as provider,
    ):
        yield server, provider
