"""What came of a call reaches its router, whatever happens in between."""

from __future__ import annotations

import pytest

from api.nats_server import BundledNats
from tests.integration.model_calls import health_is, health_now, kill, room
from tests.waiting import eventually


async def test_an_outcome_is_repeated_until_the_receipt(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.serving.RECEIPT_WITHIN", 0.1)
    async with room(module_nats_url, "instant") as (router, actor, _):
        router.receipts = False
        await router.ask("instant")
        await router.count(3)
        beats = router.beats["ask:architect:1"]
        await eventually(
            lambda: router.beats["ask:architect:1"] > beats, within=20, what="it is still alive"
        )
        router.receipts = True
        await eventually(health_is(actor, undelivered=0), within=10, what="the receipt")
        assert len({outcome.model_dump_json() for outcome in router.outcomes}) == 1


async def test_a_repeated_question_brings_the_outcome_at_once(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.serving.RECEIPT_WITHIN", 0.05)
    monkeypatch.setattr("actors.serving.RESEND_PAUSE", 600)
    async with room(module_nats_url, "instant") as (router, actor, _):
        router.receipts = False
        await router.ask("instant")
        await router.count(1)
        await eventually(health_is(actor, undelivered=1), within=20, what="it waits")
        router.receipts = True
        await router.ask("instant")
        await eventually(health_is(actor, undelivered=0), within=10, what="the receipt")
        assert await health_now(actor, answered=1)


async def test_calls_and_outcomes_survive_the_death_of_nats(nats_server: BundledNats) -> None:
    async with room(nats_server.url, "steady", "instant", pace=4) as (router, actor, _):
        await router.ask("steady")
        await router.first_delta()
        await kill(nats_server)
        await eventually(
            health_is(actor, running=0, undelivered=1), within=20, what="it finishes alone"
        )
        await nats_server.start()
        answer = await router.answered()
        await eventually(health_is(actor, undelivered=0), within=10, what="the receipt")
        assert isinstance(answer.text, str)
        # What was published while the server was away comes late, or is missed by a router that is
        # back later than the model; nothing comes twice or in another place.
        shown = 0
        for delta in router.deltas["ask:architect:1"]:
            assert delta["seq"] >= shown
            shown = delta["seq"] + len(delta["text"])
            assert delta["text"] == answer.text[delta["seq"] : shown]
        assert len({outcome.model_dump_json() for outcome in router.outcomes}) == 1
        await router.ask("instant", "ask:architect:2")
        await eventually(
            lambda: router.outcomes[-1].step == "ask:architect:2", within=10, what="the next answer"
        )
        assert router.outcomes[-1].answered is not None


async def test_stop_finishes_what_it_can_and_abandons_the_rest(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=20) as (router, actor, _):
        await router.ask("steady")
        await router.first_delta()
        await actor.stop(within=20)
        await router.answered()
    async with room(module_nats_url, "stalling", "slow") as (router, actor, _):
        await router.ask("stalling")
        await router.first_delta()
        await actor.stop(within=0.05)
        assert await health_now(actor, running=0)
        beats = router.beats["ask:architect:1"]
        await router.ask("slow", "ask:alive:1")
        await eventually(
            lambda: router.beats["ask:alive:1"] >= 5, within=10, what="five beats of another call"
        )
        assert router.beats["ask:architect:1"] <= beats + 1, "what is abandoned is silent"
        assert router.outcomes == []
