"""What a provider does with its connections, and what time-outs and cancel do to them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from actors.providers import kept_connections
from actors.providers.port import Delta
from events.errors import BadResponse, ProviderError, ProviderUnavailable
from tests.contract.provider_calls import ASKED, Answered, listen, made, scripted
from tests.servers.chat import ChatServer, chat_server, chunk, error, whole
from tests.servers.scripted import CUT, HANG
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
        await asyncio.wait_for(server.gone.wait(), 20)


async def test_leaving_a_stream_closes_its_connection() -> None:
    async with scripted() as (server, provider):
        server.reply(chunk("The "), HANG)
        async with aclosing(provider.stream(ASKED)) as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(server.gone.wait(), 20)


async def _asked(server: ChatServer, answered: Answered, deltas: int) -> None:
    def reached() -> bool:
        return bool(server.requests) and len(answered.deltas) >= deltas

    await eventually(reached, within=20, what="the server streams")


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


async def test_a_server_that_closes_after_each_answer_loses_no_request() -> None:
    # As llama.cpp does, a moment after a stream and without a word.
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        for _ in range(4):
            assert (await listen(provider, ASKED)).text == "Hello"
            asyncio.get_running_loop().call_later(0.005, server.close_idle)
        assert len(server.requests) == server.connections == 4


async def test_a_server_that_keeps_connections_after_refusals_alone_loses_one_request() -> None:
    async with scripted() as (server, provider):
        server.reply(error("no"), status=400, content_type="application/json")
        server.reply(*whole("Hello"))
        answers = []
        for _ in range(6):
            try:
                answers.append((await listen(provider, ASKED)).text)
            except ProviderError as failure:
                answers.append(type(failure).__name__)
            if answers[-1] == "Hello":  # it closes while the next request is on its way
                asyncio.get_running_loop().call_soon(server.close_idle)
        assert answers == ["ProviderError", "Hello", "ProviderUnavailable", *["Hello"] * 3]


async def test_an_age_at_which_connections_end_is_not_taken_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_connections, "SETTLED", 0.0)
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        await listen(provider, ASKED)
        server.close_idle()
        for _ in range(3):
            await listen(provider, ASKED)
        assert server.connections == 2


@pytest.mark.parametrize("kept", [False, True], ids=["new", "kept"])
async def test_what_a_server_has_read_before_it_hung_up_is_not_sent_again(kept: bool) -> None:
    async with scripted() as (server, provider):
        if kept:
            server.reply(*whole("Hello"))
        server.reply(hang_up=True)
        server.reply(*whole("Hello again"))
        if kept:
            await listen(provider, ASKED)
        with pytest.raises(ProviderUnavailable):
            await listen(provider, ASKED)
        assert len(server.requests) == 1 + kept
        assert server.connections == 1
        assert (await listen(provider, ASKED)).text == "Hello again"


async def test_a_kept_connection_that_dies_later_is_a_failure_and_nothing_is_sent_twice() -> None:
    async with scripted() as (server, provider):
        at_work = asyncio.Event()
        server.reply(*whole("Hello"))
        server.reply(after=at_work, hang_up=True)
        server.reply(*whole("Hello again"))
        await listen(provider, ASKED)
        asyncio.get_running_loop().call_later(0.3, at_work.set)
        with pytest.raises(ProviderUnavailable):
            await listen(provider, ASKED)
        assert len(server.requests) == 2


@pytest.mark.parametrize("steps", [[], [chunk("The ")]], ids=["headers", "a piece"])
async def test_a_request_whose_answer_has_begun_is_never_sent_again(steps: list[Any]) -> None:
    async with scripted() as (server, provider):
        server.reply(*whole("Hello"))
        server.reply(*steps, CUT)
        server.reply(*whole("Hello again"))
        await listen(provider, ASKED)
        with pytest.raises(BadResponse):
            await listen(provider, ASKED)
        assert len(server.requests) == 2


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
    async with scripted(stall_timeout=1) as (server, provider):
        # Each piece is sent when the listener is done with the one before, which takes it longer
        # than a server may take.
        server.reply(chunk("a"), asked_for_more[0], chunk("b"), asked_for_more[1], *whole("c")[1:])
        async with aclosing(provider.stream(ASKED)) as stream:
            async for item in stream:
                if isinstance(item, Delta) and item.text != "c":
                    busy = asyncio.get_running_loop().create_future()
                    await asyncio.wait({busy}, timeout=1.2)
                    asked_for_more[len(heard)].set()
                heard += item.text if isinstance(item, Delta) else "."
    assert heard == "abc."
