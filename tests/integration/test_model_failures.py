"""What a model's actor makes of failures, and what it says of them."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import Any

import pytest

from actors import subjects
from actors.providers.port import Limits
from events.values import SPILL, Blob, Usage
from tests.integration.model_calls import KEY, health_now, room, served
from tests.servers.chat import DONE, chunk, error, event, usage, whole
from tests.servers.scripted import CUT, HANG
from tests.waiting import eventually


async def test_a_failure_that_passes_is_tried_again_and_noted(module_nats_url: str) -> None:
    async with room(module_nats_url, "flaky", pace=100) as (router, _, _):
        await router.ask("flaky")
        answer = await router.answered()
        assert "try 1 failed: ProviderUnavailable" in answer.notes
        assert router.beats["ask:architect:1"] >= 3, "heartbeats go on between two tries"


async def test_a_failure_that_stays_is_reported_after_the_last_try(module_nats_url: str) -> None:
    async with room(module_nats_url, "failing", limits=Limits(tries=2)) as (router, actor, _):
        await router.ask("failing")
        failed = await router.failed()
        assert (failed.error, failed.retryable, failed.tries) == ("ProviderUnavailable", True, 2)
        assert failed.partial is None
        assert failed.usage is None
        assert await health_now(actor, failed=1)


async def test_what_is_not_worth_a_second_try_gets_none(module_nats_url: str) -> None:
    async with room(module_nats_url, "no-such-temper") as (router, _, _):
        await router.ask("no-such-temper")
        failed = await router.failed()
        assert (failed.error, failed.retryable, failed.tries) == ("ModelNotFound", False, 1)


@pytest.mark.parametrize(
    ("temper", "error"), [("cutting", "BadResponse"), ("stalling", "ProviderUnavailable")]
)
async def test_nothing_is_tried_again_after_the_first_word(
    module_nats_url: str, temper: str, error: str
) -> None:
    async with room(module_nats_url, temper, pace=50, stall_timeout=0.5) as (router, _, _):
        await router.ask(temper)
        failed = await router.failed()
        assert (failed.error, failed.tries) == (error, 1)
        assert failed.partial == router.text_of_deltas()
        assert failed.partial
        assert failed.usage is not None
        assert failed.usage.estimated
        assert failed.usage.output > 0


PRICED = {"a-model": {"input": 1, "output": 1, "request": "0.01"}}


@pytest.mark.parametrize(
    ("steps", "how"),
    [
        ([], {"after": asyncio.Event()}),
        ([HANG], {}),
        ([], {}),
        ([CUT], {}),
        ([b"data: {\n\n"], {}),
        ([b"<h1>Hello</h1>"], {"content_type": "text/html"}),
    ],
    ids=["late", "late-after-headers", "nothing", "cut", "malformed", "another-form"],
)
async def test_what_the_server_may_have_worked_on_is_paid_for_and_not_repeated(
    module_nats_url: str, steps: list[Any], how: dict[str, Any]
) -> None:
    config = {"prices": PRICED, "first_token_timeout": 0.2}
    async with served(module_nats_url, **config) as (server, router, _, _):
        server.reply(*steps, **how)
        await router.ask("a-model", said="x" * 400)
        failed = await router.failed()
        assert len(server.requests) == failed.tries == 1
        assert (failed.accepted, failed.retryable, failed.partial) == (True, True, None)
        assert failed.usage == Usage(input=100, estimated=True)
        assert failed.cost is not None
        assert failed.cost.amount == Decimal("0.0101")


async def test_a_failure_costs_what_the_server_says_that_it_used(module_nats_url: str) -> None:
    async with served(module_nats_url, prices=PRICED) as (server, router, _, _):
        server.reply(chunk(role="assistant"), chunk(finish="content_filter"), usage(5000, 40), DONE)
        await router.ask("a-model")
        failed = await router.failed()
        assert (failed.error, failed.tries) == ("ContentFiltered", 1)
        assert failed.usage == Usage(input=5000, output=40)
        assert failed.cost is not None
        assert failed.cost.amount == Decimal("0.01504")


async def test_what_the_server_has_refused_is_repeated_and_costs_nothing(
    module_nats_url: str,
) -> None:
    async with served(module_nats_url, prices=PRICED, tries=3) as (server, router, _, _):
        server.reply(hang_up=True)
        server.reply(error("slow down"), status=429)
        server.reply(error("oops"), status=500)
        await router.ask("a-model")
        failed = await router.failed()
        assert len(server.requests) == failed.tries == 3
        assert (failed.accepted, failed.usage, failed.cost) == (False, None, None)


async def test_a_missing_blob_is_a_failure_and_not_a_silence(module_nats_url: str) -> None:
    async with room(module_nats_url, "instant") as (router, _, _):
        await router.ask("instant", messages=Blob.of(b"never stored"))
        assert (await router.failed()).error == "StoreError"


TELLING_WHEN = pytest.mark.parametrize(
    ("status", "name"), [(429, "RateLimited"), (503, "ProviderUnavailable")]
)


@TELLING_WHEN
async def test_a_server_that_says_when_is_waited_for(
    module_nats_url: str, status: int, name: str
) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(error("not yet"), status=status, headers={"Retry-After": "0.8"})
        server.reply(*whole("Hi"))
        clock = asyncio.get_running_loop().time
        began = clock()
        await router.ask("a-model")
        answer = await router.answered()
        # Longer than the pause that is made unasked.
        assert clock() - began >= 0.8
        assert f"try 1 failed: {name}" in answer.notes


@TELLING_WHEN
async def test_a_pause_that_is_too_long_is_a_failure(
    module_nats_url: str, status: int, name: str
) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(error("not yet"), status=status, headers={"Retry-After": "3600"})
        await router.ask("a-model")
        failed = await router.failed()
        assert (failed.error, failed.tries, failed.retryable) == (name, 1, True)
        assert "3600" in failed.message


async def test_logs_are_quiet_about_what_people_say(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with room(module_nats_url, "failing", limits=Limits(tries=1)) as (router, _, _):
        await router.ask("failing", said="a-marked-confidence")
        await router.failed()
        malformed = b'{"messages": "a-marked-confidence"}'
        await router.bus.publish(subjects.model("rehearsal", "failing"), malformed)
        await eventually(lambda: "malformed" in caplog.text, within=20, what="the complaint")
    assert "a-marked-confidence" not in caplog.text


async def test_a_key_is_in_nothing_that_is_sent_stored_or_logged(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    limits = Limits(tries=1, breaker_failures=0)
    async with served(module_nats_url, limits=limits, stall_timeout=0.2) as (
        server,
        router,
        actor,
        blobs,
    ):
        # All that passes the server, whoever it is for.
        await router.bus.subscribe(">", lambda msg: seen.append(f"{msg.subject} {msg.data!r}"))
        echo = f"your key is {KEY}"
        replies: list[tuple[list[Any], dict[str, Any]]] = [
            ([error(echo)], {"status": status}) for status in (400, 401, 403, 404, 429, 500)
        ]
        replies += [([chunk("The "), HANG], {}), ([chunk("The ")], {}), ([b"data: {\n\n"], {})]
        replies += [([chunk("The " * SPILL), event({"error": {"message": echo}})], {})]
        replies += [([echo.encode()], {"content_type": "text/html"}), (whole("Fine"), {})]
        for number, (steps, how) in enumerate(replies, 1):
            server.replies.clear()
            server.reply(*steps, **how)
            await router.ask("a-model", f"ask:m{number}:1")
            await router.count(number)
        seen.append(str(await actor.health()))
        stored = [*map(repr, blobs._contents.values())]
    assert len([outcome for outcome in router.outcomes if outcome.failed]) == len(replies) - 1
    assert stored
    everything = "\n".join(
        [*seen, *stored, caplog.text, *(str(r.__dict__) for r in caplog.records)]
    )
    assert "[secret]" in everything
    assert KEY not in everything
