"""What a model's actor is asked is answered, once, and seen as it comes."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from actors import subjects
from actors.providers.port import Limits
from events.values import SPILL, Blob, Cost, Parameters
from tests.integration.model_calls import Probe, health_is, health_now, room, served
from tests.servers.chat import DONE, chunk, usage
from tests.waiting import eventually


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
        assert router.beats["ask:architect:1"] >= 2
        await eventually(
            health_is(actor, answered=1, running=0, undelivered=0), within=20, what="idle"
        )


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
        await eventually(health_is(actor, undelivered=0), within=20, what="delivered")
        assert len(router.outcomes) == 1
        assert await health_now(actor, answered=1)


async def test_nonsense_is_passed_over(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with room(module_nats_url, "instant") as (router, _, _):
        await router.bus.publish(subjects.model("rehearsal", "instant"), b"{")
        await router.ask("instant", "a step.with > subjects")
        await router.ask("instant", "ask:b:1")
        assert [outcome.step for outcome in await router.count(1)] == ["ask:b:1"]
        assert "malformed" in caplog.text
        assert "'a step.with > subjects' is not for this model" in caplog.text


async def test_names_of_models_reach_no_other_subject(
    module_nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.b", "*", ">", "a b\r\nPUB x 0", "ü" * 10_000):
        async with room(module_nats_url, name) as (router, _, _):
            await router.ask("steady")  # a model that nobody has here
            await router.ask(name)
            failed = await router.failed()
            assert failed.error == "ModelNotFound"
    assert "is not for this model" not in caplog.text


async def test_both_channels_are_shown_and_kept_apart(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        parts = [chunk(reasoning="Hm. "), chunk(reasoning="Well."), chunk("Yes", finish="stop")]
        server.reply(*parts, usage(prompt=7, completion=3), DONE)
        await router.ask("a-model")
        answer = await router.answered()
        assert (answer.reasoning, answer.text) == ("Hm. Well.", "Yes")
        assert (answer.usage.input, answer.usage.output, answer.usage.estimated) == (7, 3, False)
        assert answer.usage_raw == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        assert answer.cost == Cost(amount=Decimal(0), prices="own machine")
        shown = {"text": "", "reasoning": ""}
        for delta in router.deltas["ask:architect:1"]:
            assert delta["seq"] == len(shown[delta["channel"]])
            shown[delta["channel"]] += delta["text"]
        assert shown == {"text": "Yes", "reasoning": "Hm. Well."}


async def test_a_dearer_model_under_the_asked_name_costs_what_it_does(module_nats_url: str) -> None:
    given = {"a-model": {"output": 1}, "served-model": {"output": "100", "table": "dear ones"}}
    async with served(module_nats_url, prices=given) as (server, router, _, _):
        server.reply(chunk("Yes", finish="stop"), usage(prompt=7, completion=3), DONE)
        await router.ask("a-model")
        answer = await router.answered()
        assert answer.served_model == "served-model"
        assert answer.cost == Cost(amount=Decimal("0.0003"), prices="dear ones")
        assert "priced as served-model, which served it" in answer.notes


async def test_usage_that_is_not_told_is_estimated_and_says_so(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(chunk("Twelve chars"), chunk(finish="stop"), DONE)
        await router.ask("a-model", said="x" * 40)
        usage = (await router.answered()).usage
        assert (usage.input, usage.output, usage.estimated) == (10, 3, True)


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
