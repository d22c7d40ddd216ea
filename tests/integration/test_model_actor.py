"""A model's actor on a real NATS server: what is asked is answered, once, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from actors import subjects
from actors.bus import Bus, Msg
from actors.messages import Ask, Heartbeat, Outcome, Receipt, WireMessage
from actors.model import ModelActor
from actors.providers.config import ProviderSpec, create
from actors.providers.port import Limits
from api.nats_server import BundledNats
from events.blobs import MemoryBlobs
from events.types import ModelAnswered, ModelDiscarded, ModelFailed
from events.values import SPILL, Blob, Parameters
from tests.servers.chat import DONE, HANG, ChatServer, chat_server, chunk, error, usage, whole
from tests.waiting import eventually

BEAT = 0.05  # seconds; the product's is a second
KEY = "marked-secret-9d41c7"


Probe = Callable[[], bool | Awaitable[bool]]


class Router:
    """The other side of a call: asks, listens, and gives receipts."""

    def __init__(self, bus: Bus, provider: str) -> None:
        self.bus = bus
        self.provider = provider
        self.session = f"s{uuid4().hex[:12]}"
        self.reply = f"test.outcome.{self.session}"
        self.outcomes: list[Outcome] = []
        self.beats: dict[str, int] = defaultdict(int)
        self.deltas: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.receipts = True
        self._came = asyncio.Condition()

    async def start(self) -> None:
        await self.bus.subscribe(self.reply, self._outcome)
        await self.bus.subscribe(f"room.call.{self.session}.>", self._beat)
        await self.bus.subscribe(subjects.deltas(self.session), self._delta)

    async def _outcome(self, msg: Msg) -> None:
        self.outcomes.append(Outcome.model_validate_json(msg.data))
        if self.receipts:
            await msg.respond(Receipt(status="committed"))
        async with self._came:
            self._came.notify_all()

    def _beat(self, msg: Msg) -> None:
        beat = Heartbeat.model_validate_json(msg.data)
        assert msg.subject == subjects.call(beat.session, beat.turn, beat.step)
        self.beats[beat.step] += 1

    def _delta(self, msg: Msg) -> None:
        delta = json.loads(msg.data)
        assert msg.subject == subjects.delta(
            self.session, delta["turn"], delta["step"], delta["attempt"]
        )
        self.deltas[delta["step"]].append(delta)

    async def ask(
        self, model: str, step: str = "ask:architect:1", said: str = "Hello there", **more: Any
    ) -> None:
        fields: dict[str, Any] = {
            "session": self.session,
            "turn": "t1",
            "step": step,
            "attempt": 1,
            "reply": self.reply,
            "model": model,
            "provider": self.provider,
            "role": "architect",
            "purpose": "answer",
            "messages": (WireMessage(role="user", content=said),),
            "parameters": Parameters(seed=7),
        }
        await self.bus.publish(subjects.model(self.provider, model), Ask(**{**fields, **more}))

    async def cancel(self, step: str = "ask:architect:1") -> None:
        await self.bus.publish(subjects.cancel(self.session, "t1", step), b"{}")

    async def count(self, outcomes: int, within: float = 20) -> list[Outcome]:
        async with asyncio.timeout(within), self._came:
            await self._came.wait_for(lambda: len(self.outcomes) >= outcomes)
        return self.outcomes

    async def answered(self) -> ModelAnswered:
        outcome = (await self.count(1))[0]
        assert outcome.answered is not None, outcome
        return outcome.answered

    async def failed(self) -> ModelFailed:
        outcome = (await self.count(1))[0]
        assert outcome.failed is not None, outcome
        return outcome.failed

    async def discarded(self) -> ModelDiscarded:
        outcome = (await self.count(1))[0]
        assert outcome.discarded is not None, outcome
        return outcome.discarded

    async def first_delta(self, step: str = "ask:architect:1") -> None:
        await eventually(lambda: self.deltas[step], within=10, what="the first delta")

    def text_of_deltas(self, step: str = "ask:architect:1") -> str:
        """What the deltas say, after a check that they follow one another."""
        text = ""
        for delta in self.deltas[step]:
            assert set(delta) == {
                "type", "turn", "step", "attempt", "participant", "channel", "seq", "text",
            }  # fmt: skip
            assert delta["type"] == "delta"
            assert delta["participant"] == step.split(":")[1]
            assert delta["seq"] == len(text)
            text += delta["text"]
        return text


@asynccontextmanager
async def room(
    url: str,
    *models: str,
    limits: Limits | None = None,
    type: str = "rehearsal",
    **config: Any,
) -> AsyncIterator[tuple[Router, ModelActor, MemoryBlobs]]:
    """A router and an actor for each model, on connections of their own."""
    spec = ProviderSpec(id=type, type=type, config=config)
    provider, blobs = create(spec, {"KEY": KEY}), MemoryBlobs()
    async with asyncio.TaskGroup() as connecting:
        ours = connecting.create_task(Bus.connect(url, name="router"))
        theirs = connecting.create_task(Bus.connect(url, name="model"))
    router = Router(ours.result(), type)
    await router.start()
    actors = [
        ModelActor(theirs.result(), blobs, provider, type, model, limits=limits, heartbeat=BEAT)
        for model in models
    ]
    try:
        for actor in actors:
            await actor.start()
        yield router, actors[0], blobs
    finally:
        for actor in actors:
            await actor.stop(within=0)
        await provider.close()
        await theirs.result().close()
        await ours.result().close()


async def kill(server: BundledNats) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


# --- answers -----------------------------------------------------------------------------------


async def test_a_question_is_answered_and_seen_as_it_comes(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=20) as (router, actor, _):
        await router.ask("steady")
        answer = await router.answered()
        assert isinstance(answer.text, str)
        assert router.text_of_deltas() == answer.text
        assert len(router.deltas["ask:architect:1"]) > 20
        assert answer.finish_reason == "stop"
        assert answer.usage.output > 60
        assert answer.cost is not None
        assert answer.cost.amount == 0
        assert answer.served_model == "steady"
        assert answer.first_token_ms is not None
        assert 0 <= answer.first_token_ms <= answer.duration_ms
        at, counts = answer.rhythm[::2], answer.rhythm[1::2]
        assert at[0] == 0
        assert list(at) == sorted(at)
        assert at[-1] <= answer.duration_ms
        assert sum(counts) == len(answer.text)
        assert len(answer.rhythm) <= 1024
        assert router.beats["ask:architect:1"] >= 2
        await eventually(
            _health(actor, answered=1, running=0, undelivered=0), within=5, what="idle"
        )


def _health(actor: ModelActor, **expected: int) -> Probe:
    async def as_expected() -> bool:
        return await _now(actor, **expected)

    return as_expected


async def _now(actor: ModelActor, **expected: int) -> bool:
    health = await actor.health()
    return {name: health[name] for name in expected} == expected


async def test_five_calls_at_once(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=20) as (router, _, _):
        steps = [f"ask:model_{n}:1" for n in range(5)]
        for step in steps:
            await router.ask("steady", step, parameters=Parameters(seed=int(step[10])))
        outcomes = await router.count(5)
        assert sorted(outcome.step for outcome in outcomes) == steps
        texts = {o.step: o.answered.text for o in outcomes if o.answered}
        assert len(set(texts.values())) == 5
        for step in steps:
            assert router.text_of_deltas(step) == texts[step]


async def test_long_texts_travel_as_blobs_both_ways(module_nats_url: str) -> None:
    schema = {"type": "string", "minLength": SPILL + 1}
    async with room(module_nats_url, "instant") as (router, _, blobs):
        said = blobs.put(b"Please compare the blue plan with the red plan.")
        listed = json.dumps([{"role": "user", "content": said.model_dump()}]).encode()
        await router.ask(
            "instant", messages=blobs.put(listed), parameters=Parameters(seed=1, schema_=schema)
        )
        answer = await router.answered()
        assert isinstance(answer.text, Blob)
        text = blobs.get(answer.text).decode()
        assert router.text_of_deltas() == text
        assert max(len(delta["text"]) for delta in router.deltas["ask:architect:1"]) <= 64 * 1024


async def test_a_question_repeated_while_it_runs_is_asked_once(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=20) as (router, actor, _):
        await router.ask("steady")
        await router.first_delta()
        await router.ask("steady")
        answer = await router.answered()
        assert router.text_of_deltas() == answer.text
        await eventually(_health(actor, undelivered=0), within=5, what="delivered")
        assert len(router.outcomes) == 1
        assert await _now(actor, answered=1)


async def test_nonsense_is_passed_over(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with room(module_nats_url, "instant") as (router, _, _):
        await router.bus.publish(subjects.model("rehearsal", "instant"), b"{")
        await router.ask("instant", "a step.with > subjects")
        await router.ask("instant", "ask:b:1")
        assert [outcome.step for outcome in await router.count(1)] == ["ask:b:1"]
        assert "malformed" in caplog.text


async def test_names_of_models_reach_no_other_subject(module_nats_url: str) -> None:
    for name in ("a.b", "*", ">", "a b\r\nPUB x 0", "ü" * 10_000):
        async with room(module_nats_url, name) as (router, _, _):
            await router.ask(name)
            failed = await router.failed()
            assert failed.error == "ModelNotFound"


# --- failures ----------------------------------------------------------------------------------


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
        assert await _now(actor, failed=1)


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
    async with room(module_nats_url, temper, pace=50, stall_timeout=0.1) as (router, _, _):
        await router.ask(temper)
        failed = await router.failed()
        assert (failed.error, failed.tries) == (error, 1)
        assert failed.partial == router.text_of_deltas()
        assert failed.partial
        assert failed.usage is not None
        assert failed.usage.estimated
        assert failed.usage.output > 0


async def test_a_missing_blob_is_a_failure_and_not_a_silence(module_nats_url: str) -> None:
    async with room(module_nats_url, "instant") as (router, _, _):
        await router.ask("instant", messages=Blob.of(b"never stored"))
        assert (await router.failed()).error == "StoreError"


# --- cancel ------------------------------------------------------------------------------------


async def test_cancel_in_the_middle_reports_what_was_spent(module_nats_url: str) -> None:
    async with room(module_nats_url, "slow") as (router, actor, _):
        await router.ask("slow")
        await router.first_delta()
        await router.cancel()
        discarded = await router.discarded()
        assert discarded.reason == "cancelled"
        assert discarded.partial == router.text_of_deltas()
        assert discarded.usage is not None
        assert discarded.usage.estimated
        assert discarded.usage.output > 0
        assert discarded.cost is not None
        await eventually(_health(actor, running=0, undelivered=0), within=5, what="nothing runs")


async def test_cancel_before_the_question_wins(module_nats_url: str) -> None:
    async with room(module_nats_url, "slow") as (router, _, _):
        await router.cancel()
        await router.ask("slow")
        discarded = await router.discarded()
        assert discarded.usage is None, "the provider was never asked"


async def test_cancel_while_waiting_for_a_place(module_nats_url: str) -> None:
    one = Limits(max_concurrency=1)
    async with room(module_nats_url, "slow", limits=one) as (router, actor, _):
        await router.ask("slow", "ask:a:1")
        await router.first_delta("ask:a:1")
        await router.ask("slow", "ask:b:1")
        await eventually(lambda: router.beats["ask:b:1"] > 3, within=5, what="it waits, alive")
        assert await _now(actor, running=1, waiting=1)
        await router.cancel("ask:b:1")
        discarded = await router.discarded()
        assert (discarded.partial, discarded.usage) == (None, None)
        assert await _now(actor, running=1, waiting=0)


async def test_cancel_of_one_leaves_the_others(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=10) as (router, _, _):
        await router.ask("steady", "ask:a:1")
        await router.ask("steady", "ask:b:1")
        await router.first_delta("ask:a:1")
        await router.cancel("ask:a:1")
        by_step = {outcome.step: outcome for outcome in await router.count(2)}
        assert by_step["ask:a:1"].discarded is not None
        assert by_step["ask:b:1"].answered is not None


async def test_no_more_calls_at_once_than_allowed(module_nats_url: str) -> None:
    two = Limits(max_concurrency=2)
    async with room(module_nats_url, "steady", limits=two, pace=10) as (router, actor, _):
        most = 0

        async def watch() -> bool:
            nonlocal most
            health = await actor.health()
            most = max(most, health["running"])
            return len(router.outcomes) == 6

        for n in range(6):
            await router.ask("steady", f"ask:m{n}:1")
        probe: Probe = watch
        await eventually(probe, within=30, what="all six are answered")
        assert most == 2
        assert all(outcome.answered for outcome in router.outcomes)


# --- outcomes are not lost -----------------------------------------------------------------------


async def test_an_outcome_is_repeated_until_the_receipt(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.model.RECEIPT_WITHIN", 0.1)
    async with room(module_nats_url, "instant") as (router, actor, _):
        router.receipts = False
        await router.ask("instant")
        await router.count(3)
        beats = router.beats["ask:architect:1"]
        await eventually(
            lambda: router.beats["ask:architect:1"] > beats, within=5, what="it is still alive"
        )
        router.receipts = True
        await eventually(_health(actor, undelivered=0), within=10, what="the receipt")
        assert len({outcome.model_dump_json() for outcome in router.outcomes}) == 1


async def test_a_repeated_question_brings_the_outcome_at_once(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.model.RECEIPT_WITHIN", 0.05)
    monkeypatch.setattr("actors.model.RESEND_PAUSE", 600)
    async with room(module_nats_url, "instant") as (router, actor, _):
        router.receipts = False
        await router.ask("instant")
        await router.count(1)
        await eventually(_health(actor, undelivered=1), within=5, what="it waits")
        router.receipts = True
        await router.ask("instant")
        await eventually(_health(actor, undelivered=0), within=10, what="the receipt")
        assert await _now(actor, answered=1)


async def test_calls_and_outcomes_survive_the_death_of_nats(nats_server: BundledNats) -> None:
    async with room(nats_server.url, "steady", "instant", pace=4) as (router, actor, _):
        await router.ask("steady")
        await router.first_delta()
        await kill(nats_server)
        await eventually(
            _health(actor, running=0, undelivered=1), within=20, what="it finishes alone"
        )
        await nats_server.start()
        answer = await router.answered()
        await eventually(_health(actor, undelivered=0), within=10, what="the receipt")
        assert isinstance(answer.text, str)
        # What was published while the server was away comes late and nothing comes twice.
        assert answer.text.startswith(router.deltas["ask:architect:1"][0]["text"])
        await router.ask("instant", "ask:architect:2")
        await router.count(2)


async def test_stop_finishes_what_it_can_and_abandons_the_rest(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=20) as (router, actor, _):
        await router.ask("steady")
        await router.first_delta()
        await actor.stop(within=20)
        await router.answered()
    async with room(module_nats_url, "stalling") as (router, actor, _):
        await router.ask("stalling")
        await router.first_delta()
        await actor.stop(within=0.05)
        beats = router.beats["ask:architect:1"]
        assert await _now(actor, running=0)
        assert router.outcomes == []
        assert router.beats["ask:architect:1"] <= beats + 1


async def test_replicas_share_the_calls(module_nats_url: str) -> None:
    async with (
        room(module_nats_url, "steady", pace=50) as (router, one, _),
        room(module_nats_url, "steady", pace=50) as (_, two, _),
    ):
        for n in range(40):
            await router.ask("steady", f"ask:m{n}:1")
        await router.count(40)
        shares = [(await actor.health())["answered"] for actor in (one, two)]
        assert sum(shares) == 40
        assert min(shares) > 0


async def test_logs_are_quiet_about_what_people_say(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with room(module_nats_url, "failing", limits=Limits(tries=1)) as (router, _, _):
        await router.ask("failing", said="a-marked-confidence")
        await router.failed()
        assert "a-marked-confidence" not in caplog.text


# --- on a server -------------------------------------------------------------------------------


@asynccontextmanager
async def served(
    nats: str, **config: Any
) -> AsyncIterator[tuple[ChatServer, Router, ModelActor, MemoryBlobs]]:
    """A room whose model is served over HTTP."""
    async with (
        chat_server() as server,
        room(
            nats,
            "a-model",
            type="openai",
            **{"base_url": server.base_url, "api_key": "${KEY}", **config},
        ) as (router, actor, blobs),
    ):
        yield server, router, actor, blobs


async def test_cancel_closes_the_connection_to_the_server(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(chunk("The "), HANG)
        await router.ask("a-model")
        await router.first_delta()
        await router.cancel()
        await asyncio.wait_for(server.gone.wait(), 5)
        discarded = await router.discarded()
        assert discarded.partial == "The "


async def test_both_channels_are_shown_and_kept_apart(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        parts = [chunk(reasoning="Hm. "), chunk(reasoning="Well."), chunk("Yes", finish="stop")]
        server.reply(*parts, usage(prompt=7, completion=3), DONE)
        await router.ask("a-model")
        answer = await router.answered()
        assert (answer.reasoning, answer.text) == ("Hm. Well.", "Yes")
        assert (answer.usage.input, answer.usage.output, answer.usage.estimated) == (7, 3, False)
        assert answer.usage_raw == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        assert answer.cost is None, "a server of one's own has no price list"
        shown = {"text": "", "reasoning": ""}
        for delta in router.deltas["ask:architect:1"]:
            assert delta["seq"] == len(shown[delta["channel"]])
            shown[delta["channel"]] += delta["text"]
        assert shown == {"text": "Yes", "reasoning": "Hm. Well."}


async def test_usage_that_is_not_told_is_estimated_and_says_so(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(chunk("Twelve chars"), chunk(finish="stop"), DONE)
        await router.ask("a-model", said="x" * 40)
        usage = (await router.answered()).usage
        assert (usage.input, usage.output, usage.estimated) == (10, 3, True)


async def test_a_limit_of_rate_is_waited_for(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(error("slow down"), status=429, headers={"Retry-After": "0.3"})
        server.reply(*whole("Hi"))
        clock = asyncio.get_running_loop().time
        began = clock()
        await router.ask("a-model")
        answer = await router.answered()
        assert clock() - began >= 0.3
        assert "try 1 failed: RateLimited" in answer.notes


async def test_a_pause_that_is_too_long_is_a_failure(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(error("slow down"), status=429, headers={"Retry-After": "3600"})
        await router.ask("a-model")
        failed = await router.failed()
        assert (failed.error, failed.tries, failed.retryable) == ("RateLimited", 1, True)
        assert "3600" in failed.message


async def test_a_key_is_in_nothing_that_is_sent_stored_or_logged(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    limits = Limits(tries=1)
    async with served(module_nats_url, limits=limits, stall_timeout=0.2) as (
        server,
        router,
        actor,
        blobs,
    ):
        # Only what is about this room: the server is shared with other tests.
        await router.bus.subscribe(">", lambda msg: seen.append(f"{msg.subject} {msg.data!r}"))
        echo = f"your key is {KEY}"
        replies: list[tuple[list[Any], dict[str, Any]]] = [
            ([error(echo)], {"status": status}) for status in (400, 401, 403, 404, 429, 500)
        ]
        replies += [([chunk("The "), HANG], {}), ([chunk("The ")], {}), ([b"data: {\n\n"], {})]
        replies += [([echo.encode()], {"content_type": "text/html"}), (whole("Fine"), {})]
        for number, (steps, how) in enumerate(replies, 1):
            server.replies.clear()
            server.reply(*steps, **how)
            await router.ask("a-model", f"ask:m{number}:1")
            await router.count(number)
        seen.append(str(await actor.health()))
        seen.extend(map(repr, blobs._contents.values()))
    assert len([outcome for outcome in router.outcomes if outcome.failed]) == len(replies) - 1
    everything = "\n".join([*seen, caplog.text, *(str(r.__dict__) for r in caplog.records)])
    assert "[secret]" in everything
    assert KEY not in everything
