"""What a provider does with its connections, and what time-outs and cancel do to them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from actors.providers.port import Delta
from tests.contract.provider_calls import ASKED, Answered, listen, made, scripted
from tests.servers.chat import ChatServer, chat_server, chunk, whole
from tests.servers.scripted import HANG
from tests.waiting import eventually


@pytest.mark.parametrize("steps", [[HANG], [chunk("The "), HANG]], ids=["before", "in-between"])
async def test_cancel_reaches_the_server(steps: list[Any]) -> None:
    async with scripted() as (server, provider):
        server.reply(*steps)
        answered = Answered()
        task = asyncio.create_task(listen(provider, ASKED, answered))
        await _asked(server, answered, len(steps) - 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.gone.wait(), 5)


async def test_leaving_a_stream_closes_its_connection() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("The "), HANG)
        async with aclosing(provider.stream(ASKED)) as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(server.gone.wait(), 5)


async def _asked(server: ChatServer, answered: Answered, deltas: int) -> None:
    def reached() -> bool:
        return bool(server.requests) and len(answered.deltas) >= deltas

    await eventually(reached, within=5, what="the server streams")


async def test_connections_are_kept_and_shared() -> None:
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        for _ in range(3):
            await listen(provider, ASKED)
        assert server.connections == 1


async def test_a_kept_connection_that_the_server_has_closed_is_no_failure() -> None:
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        for _ in range(5):
            assert (await listen(provider, ASKED)).text == "Hello"
            server.close_idle()
        assert len(server.requests) == server.connections == 5


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with chat_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/v1"))
        proxy.reply(*whole("Hello"))
        async with made("openai", base_url="http://models.example/v1") as provider:
            assert (await listen(provider, ASKED)).text == "Hello"
        assert proxy.requests[0].headers["Host"] == "models.example"


async def test_time_outs_are_about_the_provider_and_not_about_whoever_listens() -> None:
    """A slow listener does not make a stream stall."""
    heard, asked_for_more = "", [asyncio.Event(), asyncio.Event()]
    async with scripted(stall_timeout=0.4) as (server, provider):
        # Each piece is sent when the listener is done with the one before, which takes it longer
        # than a server may take.
        server.reply(chunk("a"), asked_for_more[0], chunk("b"), asked_for_more[1], *whole("c")[1:])
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                if isinstance(item, Delta) and item.text != "c":
                    busy = asyncio.get_running_loop().create_future()
                    await asyncio.wait({busy}, timeout=0.5)
                    asked_for_more[len(heard)].set()
                heard += item.text if isinstance(item, Delta) else "."
    assert heard == "abc."
