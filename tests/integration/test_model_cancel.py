"""Cancel reaches a call wherever it is, and no other."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from actors.providers.port import Limits
from tests.integration.model_calls import health_is, health_now, room, served
from tests.servers.chat import chunk
from tests.servers.scripted import HANG
from tests.waiting import eventually


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
        await eventually(health_is(actor, running=0, undelivered=0), within=20, what="nothing runs")


async def test_what_is_paid_by_the_hour_is_timed_also_where_it_came_to_nothing(
    module_nats_url: str,
) -> None:
    hourly = {"*": {"hour": "36"}}  # a cent a second
    async with room(module_nats_url, "slow", prices=hourly) as (router, _, _):
        await router.ask("slow")
        await router.first_delta()
        await router.cancel()
        discarded = await router.discarded()
    async with room(module_nats_url, "cutting", prices=hourly, pace=50) as (router, _, _):
        await router.ask("cutting")
        failed = await router.failed()
    for paid in (discarded, failed):
        assert paid.duration_ms
        assert paid.cost
        assert paid.cost.amount == Decimal(str(paid.duration_ms)) / 1000 / 100


async def test_cancel_before_the_question_wins(module_nats_url: str) -> None:
    async with room(module_nats_url, "slow") as (router, _, _):
        await router.cancel()
        await router.ask("slow")
        discarded = await router.discarded()
        assert discarded.usage is None, "the provider was never asked"
        assert discarded.duration_ms is None


async def test_cancel_while_waiting_for_a_place(module_nats_url: str) -> None:
    one = Limits(max_concurrency=1)
    async with room(module_nats_url, "slow", limits=one) as (router, actor, _):
        await router.ask("slow", "ask:a:1")
        await router.first_delta("ask:a:1")
        await router.ask("slow", "ask:b:1")
        await eventually(lambda: router.beats["ask:b:1"] > 3, within=20, what="it waits, alive")
        assert await health_now(actor, running=1, waiting=1)
        await router.cancel("ask:b:1")
        discarded = await router.discarded()
        assert (discarded.partial, discarded.usage) == (None, None)
        assert await health_now(actor, running=1, waiting=0)


async def test_cancel_of_one_leaves_the_others(module_nats_url: str) -> None:
    async with room(module_nats_url, "steady", pace=10) as (router, _, _):
        await router.ask("steady", "ask:a:1")
        await router.ask("steady", "ask:b:1")
        await router.first_delta("ask:a:1")
        await router.cancel("ask:a:1")
        by_step = {outcome.step: outcome for outcome in await router.count(2)}
        assert by_step["ask:a:1"].discarded is not None
        assert by_step["ask:b:1"].answered is not None


async def test_cancel_closes_the_connection_to_the_server(module_nats_url: str) -> None:
    async with served(module_nats_url) as (server, router, _, _):
        server.reply(chunk("The "), HANG)
        await router.ask("a-model")
        await router.first_delta()
        await router.cancel()
        await asyncio.wait_for(server.gone.wait(), 20)
        discarded = await router.discarded()
        assert discarded.partial == "The "
