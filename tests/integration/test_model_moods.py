"""A model that has much to do, may not be asked yet, or fails again and again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from actors.model import ModelActor
from actors.providers.config import ProviderSpec
from events.types import ModelFailed
from tests.integration.model_calls import Router, health_is, health_now, room, served
from tests.rooms import local_room
from tests.servers.chat import chat_server, chunk, error, whole
from tests.servers.scripted import HANG
from tests.waiting import eventually

FIRST, SECOND, THIRD = "ask:one:1", "ask:two:1", "ask:three:1"


async def failure(router: Router, step: str) -> ModelFailed:
    """Ask, and wait for the failure of that step."""
    await router.ask("a-model", step)

    def failures() -> list[ModelFailed]:
        return [one.failed for one in router.outcomes if one.step == step and one.failed]

    [failed] = await eventually(failures, within=10, what=f"{step} fails")
    return failed


async def in_line(actor: ModelActor, *steps: str) -> None:
    """Returns when exactly these wait for a place, in that order."""

    async def as_said() -> bool:
        queue = (await actor.health())["queue"]
        return tuple(one["step"] for one in queue) == steps

    await eventually(as_said, within=10, what="the line")


async def state_of(actor: ModelActor) -> str:
    return str((await actor.health())["breaker"]["state"])


async def test_a_full_line_refuses_at_once_and_the_others_keep_their_order(
    module_nats_url: str,
) -> None:
    free = asyncio.Event()
    async with served(module_nats_url, max_concurrency=1, max_queue=1) as (
        server,
        router,
        actor,
        _,
    ):
        server.reply(*whole("Hi"), after=free)
        await router.ask("a-model", FIRST)
        await eventually(lambda: server.requests, within=10, what="the first is asked")
        await router.ask("a-model", SECOND)
        await in_line(actor, SECOND)
        waiting = {"session": router.session, "turn": "t1", "step": SECOND, "ahead": 0}
        assert (await actor.health())["queue"] == [waiting]
        assert await health_now(actor, running=1, waiting=1)

        failed = await failure(router, THIRD)
        assert (failed.error, failed.retryable) == ("RateLimited", True)
        assert "max_queue" in failed.message
        assert "'a-model'" in failed.message
        free.set()
        await router.count(3)
        assert [one.step for one in router.outcomes if one.answered] == [FIRST, SECOND]
        assert await health_now(actor, waiting=0, running=0)
        assert (await actor.health())["queue"] == []


async def test_who_waits_is_told_how_many_are_before_it(module_nats_url: str) -> None:
    async with served(module_nats_url, max_concurrency=1) as (server, router, actor, _):
        free = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
        for event in free:
            server.reply(*whole("Hi"), after=event)
        await router.ask("a-model", FIRST)
        await eventually(lambda: server.requests, within=10, what="the first is asked")
        await router.ask("a-model", SECOND)
        await in_line(actor, SECOND)
        await router.ask("a-model", THIRD)
        await in_line(actor, SECOND, THIRD)
        said = {SECOND: "waits for its turn, 0 before it\n"}
        said[THIRD] = "waits for its turn, 1 before it\n"
        await eventually(
            lambda: {step: status(router, step) for step in said} == said, within=10, what="both"
        )
        free[0].set()
        said[THIRD] += "waits for its turn, 0 before it\n"
        await eventually(lambda: status(router, THIRD) == said[THIRD], within=10, what="it moved")
        free[1].set()
        free[2].set()
        await router.count(3)
        assert [status(router, step) for step in (FIRST, SECOND)] == ["", said[SECOND]]
        assert [delta["text"] for delta in router.deltas[THIRD]][-1] == "Hi"


def status(router: Router, step: str) -> str:
    """All that the deltas of the step said of its waiting."""
    pieces = [delta for delta in router.deltas[step] if delta["channel"] == "status"]
    text = "".join(delta["text"] for delta in pieces)
    assert [delta["seq"] for delta in pieces] == [
        sum(len(delta["text"]) for delta in pieces[:n]) for n in range(len(pieces))
    ]
    return text


async def test_a_call_that_is_called_off_leaves_the_line(module_nats_url: str) -> None:
    async with served(module_nats_url, max_concurrency=1, max_queue=1) as (
        server,
        router,
        actor,
        _,
    ):
        server.reply(chunk("The "), HANG)
        server.reply(*whole("Hi"))
        await router.ask("a-model", FIRST)
        await router.first_delta(FIRST)
        await router.ask("a-model", SECOND)
        await in_line(actor, SECOND)
        await router.cancel(SECOND)
        await router.count(1)
        assert (await actor.health())["queue"] == []
        await router.ask("a-model", THIRD)
        await in_line(actor, THIRD)
        await router.cancel(FIRST)
        await router.count(3)
        assert [one.step for one in router.outcomes if one.answered] == [THIRD]


async def test_a_rate_limit_holds_back_the_other_calls_too(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, actor, _):
        clock = asyncio.get_running_loop().time
        server.reply(error("slow down"), status=429, headers={"Retry-After": "1.5"})
        server.reply(*whole("Hi"))
        began = clock()
        await router.ask("a-model", FIRST)
        await eventually(lambda: held(actor), within=10, what="it is known")
        await router.ask("a-model", SECOND)
        await eventually(health_is(actor, waiting=2, running=0), within=10, what="both wait")
        assert len(server.requests) == 1
        await router.count(2)
        assert clock() - began >= 1.5
        assert len(server.requests) == 3
        assert "for the rate limit of its provider" in status(router, SECOND)
        assert all(one.answered for one in router.outcomes)


async def held(actor: ModelActor) -> bool:
    return bool((await actor.health())["held_for"] > 0)


async def test_a_limit_that_the_headers_tell_is_not_run_into(module_nats_url: str) -> None:
    used_up = {
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "700ms",
    }
    async with served(module_nats_url) as (server, router, actor, _):
        clock = asyncio.get_running_loop().time
        server.reply(*whole("Hi"), headers=used_up)
        server.reply(*whole("Hi"))
        await router.ask("a-model", FIRST)
        await router.count(1)
        told = clock()
        await router.ask("a-model", SECOND)
        await eventually(health_is(actor, waiting=1), within=10, what="the second waits")
        await router.count(2)
        assert clock() - told >= 0.5
        assert len(server.requests) == 2
        second = router.outcomes[1].answered
        assert second is not None
        assert second.notes == ()


async def test_nobody_is_asked_who_said_not_for_an_hour(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(error("not today"), status=429, headers={"Retry-After": "1800"})
        await failure(router, FIRST)
        failed = await failure(router, SECOND)
        assert failed.error == "RateLimited"
        assert "for another 1800 s" in failed.message
        assert len(server.requests) == 1


async def test_a_model_that_keeps_failing_is_left_alone_and_tried_again(
    module_nats_url: str,
) -> None:
    async with served(module_nats_url, tries=1, breaker_failures=2, breaker_pause=2) as (
        server,
        router,
        actor,
        _,
    ):
        server.reply(error("oops"), status=500)
        await failure(router, "ask:m1:1")
        assert await state_of(actor) == "closed"
        await failure(router, "ask:m2:1")
        failed = await failure(router, "ask:m3:1")
        assert (failed.error, failed.retryable) == ("ProviderUnavailable", True)
        assert "2 times in a row" in failed.message
        assert "oops" in failed.message
        assert len(server.requests) == 2, "it was not asked a third time"
        assert (await actor.health())["breaker"]["failures"] == 2

        async def half_open() -> bool:
            return await state_of(actor) == "half-open"

        free = asyncio.Event()
        server.replies.clear()
        server.reply(*whole("Hi"), after=free)
        await eventually(half_open, within=10, what="its pause is over")
        await router.ask("a-model", "ask:m4:1")
        await eventually(lambda: len(server.requests) == 3, within=10, what="it is tried")
        failed = await failure(router, "ask:m5:1")
        assert "being tried" in failed.message
        free.set()
        await router.count(5)
        assert router.outcomes[-1].answered is not None
        assert await state_of(actor) == "closed"


async def test_an_open_breaker_ends_the_tries_of_calls_under_way(module_nats_url: str) -> None:
    async with served(module_nats_url, tries=10, breaker_failures=2) as (server, router, actor, _):
        server.reply(error("oops"), status=500)
        failed = await failure(router, FIRST)
        assert failed.tries == 2
        assert "2 times in a row" in failed.message
        assert await state_of(actor) == "open"


async def test_answers_that_are_broken_again_and_again_open_it(module_nats_url: str) -> None:
    async with served(module_nats_url, breaker_failures=2) as (server, router, actor, _):
        server.reply(chunk("The "))
        server.reply(b"<h1>Router login</h1>", content_type="text/html")
        assert (await failure(router, FIRST)).error == "BadResponse"
        assert await state_of(actor) == "closed"
        assert (await failure(router, SECOND)).error == "BadResponse"
        assert await state_of(actor) == "open"
        failed = await failure(router, THIRD)
        assert (failed.error, failed.accepted, failed.cost) == ("ProviderUnavailable", False, None)
        assert "Router login" in failed.message
        assert len(server.requests) == 2


async def test_what_the_caller_did_wrong_does_not_open_it(module_nats_url: str) -> None:
    async with served(module_nats_url, tries=1, breaker_failures=1) as (server, router, actor, _):
        for number, (status, message, headers) in enumerate(
            [
                (400, "maximum context length is 10 tokens", {}),
                (401, "no such key", {}),
                (404, "no such model", {}),
                (429, "slow down", {}),
                (503, "loading", {"Retry-After": "0.01"}),
            ]
        ):
            server.replies.clear()
            server.reply(error(message), status=status, headers=headers)
            await failure(router, f"ask:m{number}:1")
            assert await state_of(actor) == "closed"
        assert len(server.requests) == 5


async def test_a_fallback_answers_at_once_where_the_breaker_is_open(tmp_path: Path) -> None:
    async with chat_server() as server:
        server.reply(error("oops"), status=500)
        weak = ProviderSpec(
            id="weak",
            type="openai",
            config={"base_url": server.base_url, "tries": 1, "breaker_failures": 2},
        )
        seat = {
            "id": "a",
            "provider": "weak",
            "model_name": "a-model",
            "role": "A",
            "fallbacks": [{"provider": "paced", "model_name": "instant"}],
        }
        async with local_room(tmp_path, weak) as room:
            await room.create("s1", models=[seat])
            for asked in (1, 2, 2, 2):
                turn = await room.post("s1", wait=20)
                assert turn["status"] == "completed"
                assert [answer["model"] for answer in turn["answers"]] == ["instant"]
                assert len(server.requests) == asked


LOADING = json.dumps(
    {"error": "Model a-model is currently loading", "estimated_time": 0.05}
).encode()


async def test_a_model_that_is_loading_is_waited_for_whatever_the_tries(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.attempt.LOADING_PAUSE", 0.05)
    async with (
        chat_server() as server,
        room(
            module_nats_url,
            "a-model",
            type="huggingface",
            base_url=server.base_url,
            tries=2,
            breaker_failures=1,
        ) as (router, actor, _),
    ):
        for _ in range(5):
            server.reply(LOADING, status=503, content_type="application/json")
        server.reply(error("slow down"), status=429)
        server.reply(*whole("Hi"))
        await router.ask("a-model", FIRST)
        answer = await router.answered()
        assert answer.text == "Hi"
        assert answer.notes == ("waited for the model to load", "try 6 failed: RateLimited")
        assert "waits for its model to load" in status(router, FIRST)
        assert await state_of(actor) == "closed"


async def test_a_model_that_goes_on_loading_has_failed(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.attempt.LOADING_PAUSE", 0.05)
    config: dict[str, Any] = {"type": "huggingface", "loading_timeout": 0.3, "tries": 1}
    async with (
        chat_server() as server,
        room(module_nats_url, "a-model", base_url=server.base_url, **config) as (router, _, _),
    ):
        server.reply(LOADING, status=503, content_type="application/json")
        failed = await failure(router, FIRST)
        assert (failed.error, failed.retryable) == ("ProviderUnavailable", True)
        assert failed.tries > 2
        assert (failed.accepted, failed.usage) == (False, None)
