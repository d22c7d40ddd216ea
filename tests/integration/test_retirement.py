"""The hosts of models that nobody uses end, and are there again when they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors import subjects
from actors.addresses import Address, ModelAddress
from actors.bus import Bus, Msg
from actors.calls import Calls, Key
from actors.cluster import joined
from actors.hosting import ModelHost
from actors.messages import Gone
from actors.providers.config import Providers, ProviderSpec
from actors.tools.config import ToolServers
from api import services
from api.hosts import Hosts
from api.running import noted
from api.settings import load_settings
from events.blobs import MemoryBlobs
from events.errors import ConfigError, ControlRoomError
from tests.integration.model_calls import Router
from tests.integration.test_calls import ask
from tests.waiting import eventually

IDLE = 0.2  # seconds


@asynccontextmanager
async def hosting(
    url: str, monkeypatch: pytest.MonkeyPatch, pace: float = 50
) -> AsyncIterator[tuple[ModelHost, Router]]:
    """A host of two rehearsals, and a router that asks them."""
    monkeypatch.setattr("actors.hosting.LEAVE", 0.1)
    ours, theirs = await Bus.connect(url, name="router"), await Bus.connect(url, name="models")
    specs = Providers(ProviderSpec(id="stage", type="rehearsal", config={"pace": pace}))
    host = ModelHost(theirs, MemoryBlobs(), specs, {})
    router = Router(ours, "stage")
    await router.start()
    try:
        for model in ("steady", "instant"):
            await host.ensure("stage", model)
        yield host, router
    finally:
        await host.stop()
        await theirs.close()
        await ours.close()


async def idle(host: ModelHost) -> None:
    await eventually(lambda: host.idle > IDLE, within=10, what="nobody asks")


async def test_a_host_that_nobody_uses_says_so_and_takes_models_again(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting(module_nats_url, monkeypatch) as (host, router):
        gone: list[Address] = []
        await router.bus.subscribe(
            subjects.GONE, lambda msg: gone.append(Gone.model_validate_json(msg.data).actor)
        )
        assert not await host.retire(60)
        await idle(host)
        assert await host.retire(IDLE)
        assert (await host.health())["models"] == []
        assert gone == [ModelAddress("stage", "steady"), ModelAddress("stage", "instant")]
        await host.ensure("stage", "instant")
        await router.ask("instant")
        assert (await router.answered()).text


async def test_a_host_with_an_open_or_undelivered_call_stays(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting(module_nats_url, monkeypatch, pace=1) as (host, router):
        await idle(host)
        await router.ask("steady")
        await router.first_delta()
        assert not await host.retire(IDLE)
        router.receipts = False
        await router.cancel()
        await router.count(1)
        assert not await host.retire(IDLE)
        assert len((await host.health())["models"]) == 2


async def test_a_question_that_comes_while_a_host_leaves_keeps_it(
    module_nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting(module_nats_url, monkeypatch, pace=1) as (host, router):
        monkeypatch.setattr("actors.hosting.LEAVE", 1.0)
        said = asyncio.Event()
        await router.bus.subscribe(subjects.GONE, lambda _: said.set())
        await idle(host)
        leaving = asyncio.create_task(host.retire(IDLE))
        await asyncio.wait_for(said.wait(), 10)
        await router.ask("steady")
        assert not await asyncio.wait_for(leaving, 20)
        assert (await router.answered()).text
        await router.ask("instant", step="ask:architect:2")
        await router.count(2)


async def test_a_router_has_a_model_that_ended_started_before_it_asks(
    module_nats_url: str,
) -> None:
    bus, other = await Bus.connect(module_nats_url), await Bus.connect(module_nats_url)
    started: list[str] = []
    asked: list[Msg] = []

    async def ensure(address: Address) -> None:
        started.append(str(address))

    def never(key: Key, attempt: int, error: ControlRoomError | None = None) -> None:
        raise AssertionError(f"{key} is no trouble: {error}")

    calls = Calls(bus, ensure, silent=never, unservable=never, heartbeat=60)
    await calls.start()
    await other.subscribe(subjects.model("p", "m"), asked.append)
    await calls.send(ask("s1"))
    await eventually(lambda: len(asked) == 1, within=10, what="the first question")
    await calls.send(ask("s2"))
    await eventually(lambda: len(asked) == 2, within=10, what="the second question")
    assert started == ["p/m"]
    heard = asyncio.Event()
    await bus.subscribe(subjects.GONE, lambda _: heard.set())
    await other.publish(subjects.GONE, Gone(actor=ModelAddress("p", "m")))
    await asyncio.wait_for(heard.wait(), 10)
    await calls.send(ask("s3"))
    await eventually(lambda: len(asked) == 3, within=10, what="the third question")
    assert started == ["p/m", "p/m"]
    await calls.stop()
    await bus.close()
    await other.close()


async def test_ray_ends_a_host_for_good_and_a_failed_start_gives_its_place_free(
    module_nats_url: str, tmp_path: Path
) -> None:
    config: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "api_key": "${NOT_SET_ANYWHERE}"}
    providers = Providers(
        ProviderSpec(id="broken", type="openai", config=config),
        ProviderSpec(id="stage", type="rehearsal"),
    )
    settings = load_settings(home=tmp_path)
    settings.logs_dir.mkdir(parents=True)
    bus = await Bus.connect(module_nats_url, name="supervisor")
    router = Router(bus, "stage")
    await router.start()

    def hosts_now() -> dict[str, Any]:
        return {name: facts["models"] for name, facts in noted(settings.run_dir).items()}

    def process() -> psutil.Process:
        return psutil.Process(noted(settings.run_dir)["models-0"]["pid"])

    async with joined("", settings.scratch_dir) as cluster:
        arguments = services.service_settings(settings, providers, ToolServers(), module_nats_url)
        hosts = Hosts(cluster, bus, arguments, idle=1.0)
        with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
            await hosts.ensure("broken", "any")
        await hosts.ensure("stage", "instant")
        assert hosts_now() == {"models-0": [["stage", "instant"]]}
        first = process()
        watching = asyncio.create_task(hosts.watch())
        await eventually(lambda: not first.is_running(), within=60, what="the end of the process")
        watching.cancel()
        assert hosts_now() == {"models-0": []}
        await hosts.ensure("stage", "instant")
        assert process().pid != first.pid
        await router.ask("instant")
        assert (await router.answered()).text
    await bus.close()
