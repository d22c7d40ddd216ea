"""One behaviour that every provider shows, whatever stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from actors.providers.port import ChatRequest, Provider
from events.errors import BadResponse, ModelNotFound, ProviderError, ProviderUnavailable
from tests.contract.provider_calls import ASKED, Answered, listen, made, scripted
from tests.servers.chat import DONE, chunk, error, whole
from tests.servers.scripted import CUT, HANG

Situation = Callable[[AsyncExitStack], Awaitable[tuple[Provider, ChatRequest]]]


def rehearsing(temper: str, **config: Any) -> Situation:
    async def prepare(stack: AsyncExitStack) -> tuple[Provider, ChatRequest]:
        provider = await stack.enter_async_context(made("rehearsal", **{"pace": 50, **config}))
        return provider, replace(ASKED, model=temper)

    return prepare


def served(*steps: Any, how: dict[str, Any] | None = None, **config: Any) -> Situation:
    async def prepare(stack: AsyncExitStack) -> tuple[Provider, ChatRequest]:
        server, provider = await stack.enter_async_context(scripted(**config))
        server.reply(*steps, **(how or {}))
        return provider, ASKED

    return prepare


SITUATIONS: dict[str, dict[str, Situation]] = {
    "answer": {
        "rehearsal": rehearsing("instant"),
        "openai": served(*whole("The ", "event ", "log.")),
        "openai-in-one-packet": served(b"".join(whole("The ", "event ", "log."))),
        "openai-by-bytes": served(*(bytes([b]) for b in b"".join(whole("The ", "log", "…")))),
    },
    "late": {
        "rehearsal": rehearsing("late", first_token_timeout=0.05),
        "openai": served(how={"after": asyncio.Event()}, first_token_timeout=0.05),
        "openai-after-headers": served(HANG, first_token_timeout=0.05),
        "openai-only-comments": served(b": still at it\n\n", HANG, first_token_timeout=0.05),
    },
    "stall": {
        "rehearsal": rehearsing("stalling", stall_timeout=0.05),
        "openai": served(chunk("The "), HANG, stall_timeout=0.05),
    },
    "cut": {
        "rehearsal": rehearsing("cutting"),
        "openai-ends-early": served(chunk("The ")),
        "openai-done-without-a-finish": served(chunk("The "), DONE),
        "openai-connection-lost": served(chunk("The "), CUT),
    },
    "unavailable": {
        "rehearsal": rehearsing("failing"),
        "openai": served(error("oops"), how={"status": 500}),
        "openai-nobody-there": served(base_url="http://127.0.0.1:9/v1"),
        "openai-hangs-up": served(how={"hang_up": True}),
    },
    "unknown-model": {
        "rehearsal": rehearsing("no-such-temper"),
        "openai": served(error("no such model", code="model_not_found"), how={"status": 404}),
    },
}


def situations(name: str) -> pytest.MarkDecorator:
    ways = SITUATIONS[name]
    return pytest.mark.parametrize("situation", ways.values(), ids=ways.keys())


async def failing(situation: Situation) -> tuple[ProviderError, Answered, str]:
    """The error, what came before it, and the model that was asked."""
    answered = Answered()
    async with AsyncExitStack() as stack:
        provider, asked = await situation(stack)
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(listen(provider, asked, answered), 10)
    return caught.value, answered, asked.model


@situations("answer")
async def test_an_answer_comes_in_pieces_and_ends(situation: Situation) -> None:
    async with AsyncExitStack() as stack:
        provider, asked = await situation(stack)
        answered = await listen(provider, asked)
        assert "log" in answered.text
        assert answered.end.finish_reason == "stop"
        assert answered.end.usage is not None
        assert not answered.end.usage.estimated
        assert answered.end.usage.input > 0
        assert answered.end.usage.output > 0
        assert answered.end.served_model


@situations("late")
async def test_a_late_first_token_is_not_waited_for_without_end(situation: Situation) -> None:
    raised, answered, _ = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert raised.retryable
    assert "first_token_timeout" in raised.message
    assert raised.accepted
    assert answered.deltas == []


@situations("stall")
async def test_a_stream_that_stalls_fails(situation: Situation) -> None:
    raised, answered, _ = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert raised.retryable
    assert "0.05 s" in raised.message
    assert raised.accepted
    assert answered.text


@situations("cut")
async def test_a_stream_without_its_end_is_no_answer(situation: Situation) -> None:
    raised, answered, _ = await failing(situation)
    assert type(raised) is BadResponse
    assert raised.retryable
    assert raised.accepted
    assert answered.text


@situations("unavailable")
async def test_a_server_that_cannot_answer_is_unavailable(situation: Situation) -> None:
    raised, answered, _ = await failing(situation)
    assert type(raised) is ProviderUnavailable
    assert not raised.accepted
    assert raised.retryable
    assert answered.deltas == []


@situations("unknown-model")
async def test_an_unknown_model_is_named(situation: Situation) -> None:
    raised, answered, model = await failing(situation)
    assert type(raised) is ModelNotFound
    assert not raised.retryable
    assert repr(model) in raised.message
    assert answered.deltas == []
