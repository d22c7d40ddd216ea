"""Outcomes that are larger than what NATS takes come to the router as failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors import undeliverable
from actors.bus import Bus, Msg
from actors.deltas import DeltaPublisher
from actors.messages import Ask, Outcome
from actors.serving import Call, Key, Serving
from events.runs import RunCompleted, RunFailed
from events.tools import ToolFailed
from events.types import ModelDiscarded
from events.values import ToolCall, Usage
from tests.integration.model_calls import BEAT, Router, served
from tests.servers.chat import DONE, chunk, usage
from tests.sessions import answered, failed
from tests.tool_calls import returned
from tests.waiting import eventually

HUGE = "x" * 2_000_000
CALLS = tuple(ToolCall(id=f"call_{n:020d}", name="t", arguments="{}") for n in range(24_000))
STEP = "ask:architect:1"


@asynccontextmanager
async def working(url: str, outcome: Outcome) -> AsyncIterator[tuple[Router, Serving[None]]]:
    """An actor whose calls have that outcome, and the router that it is for."""

    async def work(key: Key, call: Call[None]) -> Outcome:
        session, turn, step, attempt = key
        where = {"session": session, "turn": turn, "step": step, "attempt": attempt}
        return outcome.model_copy(update=where)

    async with asyncio.timeout(10):
        ours, theirs = await Bus.connect(url), await Bus.connect(url)
    router, deltas = Router(ours, "test"), DeltaPublisher(theirs)
    serving = Serving(theirs, "test", work, heartbeat=BEAT)
    try:
        await router.start()
        deltas.start()
        await serving.start()

        def take(msg: Msg) -> None:
            asked = Ask.model_validate_json(msg.data)
            serving.take(asked, lambda key: (None, deltas.open(*key)), msg)

        await theirs.subscribe("room.model.>", take)
        yield router, serving
    finally:
        await serving.stop(0)
        await deltas.stop()
        await theirs.close()
        await ours.close()


def of(**data: object) -> Outcome:
    return Outcome.model_validate(
        {"session": "s1", "turn": "t1", "step": STEP, "attempt": 1} | data
    )


async def came(url: str, outcome: Outcome) -> Outcome:
    """What the router gets, once; the actor has nothing left to send then."""
    async with working(url, outcome) as (router, serving):
        await router.ask("m", STEP)
        await router.count(1)
        await eventually(lambda: not len(serving), within=10, what="the receipt")
        [got] = router.outcomes
        return got


async def test_an_answer_that_cannot_be_sent_is_a_failure_that_was_paid(
    module_nats_url: str,
) -> None:
    whole = answered("x", tool_calls=CALLS)
    got = (await came(module_nats_url, of(answered=whole))).failed
    assert got is not None
    assert (got.error, got.retryable, got.accepted) == ("BadResponse", False, True)
    assert (got.usage, got.cost, got.duration_ms) == (whole.usage, whole.cost, whole.duration_ms)
    assert "bytes is more than can be sent" in got.message


async def test_so_is_each_other_outcome_of_a_model(module_nats_url: str) -> None:
    long = failed(HUGE, accepted=True, tries=2)
    got = (await came(module_nats_url, of(failed=long))).failed
    assert got is not None
    assert (got.tries, got.accepted) == (2, True)
    assert got.message.endswith(": " + "x" * undeliverable.LONGEST)
    dropped = ModelDiscarded(attempt=1, reason="cancelled", partial=HUGE, cost=long.cost)
    discarded = (await came(module_nats_url, of(discarded=dropped))).discarded
    assert discarded == dropped.model_copy(update={"partial": None})


async def test_so_is_that_of_a_tool_which_was_called(module_nats_url: str) -> None:
    got = (await came(module_nats_url, of(returned=returned(implementation=HUGE)))).tool_failed
    assert got is not None
    assert (got.error, got.retryable, got.duration_ms) == ("BadResult", False, 1.5)
    assert got.message.startswith("the tool was called, but its outcome of 2000")
    late = ToolFailed(attempt=1, error="ToolError", message=HUGE, retryable=True)
    again = (await came(module_nats_url, of(tool_failed=late))).tool_failed
    assert again is not None
    assert again.message.startswith("its outcome of 2000")


async def test_so_is_that_of_a_run(module_nats_url: str) -> None:
    done = RunCompleted(attempt=1, output="", result=HUGE, duration_ms=1.0)
    ended = RunFailed(attempt=1, error="WorkflowFailed", message=HUGE, retryable=True)
    for outcome in (of(completed=done), of(run_failed=ended)):
        got = (await came(module_nats_url, outcome)).run_failed
        assert got is not None
        assert (got.error, got.retryable) == ("WorkflowFailed", False)


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([("x" * 140_000, "t")], "the tool calls of one answer have 1400"),
        ([(f"call_{n:0120d}", "t") for n in range(1000)], "more than the 131072 that"),
        ([("c", "t")] * 1025, "one answer has 1025 tool calls, more than the 1024"),
    ],
    ids=["a long id", "long ids", "many"],
)
async def test_calls_of_an_answer_are_bounded_with_their_ids(
    module_nats_url: str, calls: list[tuple[str, str]], why: str
) -> None:
    wanted = [
        {"index": n, "id": id, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for n, (id, name) in enumerate(calls)
    ]
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(
            *(chunk(tool_calls=[one]) for one in wanted),
            chunk(finish="tool_calls"),
            usage(50, 40),
            DONE,
        )
        await router.ask("a-model")
        got = await router.failed()
        assert (got.error, got.tries, got.accepted) == ("BadResponse", 1, True)
        assert why in got.message
        assert got.usage == Usage(input=50, output=40)
        assert len(server.requests) == 1
