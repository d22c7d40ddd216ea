"""What runs in actor processes: the router, and hosts of models. Their settings are plain JSON."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from actors import subjects
from actors.addresses import Address
from actors.bus import Bus, Msg
from actors.cluster import Health
from actors.grounds import Grounds
from actors.hosting import ModelHost, raised
from actors.messages import Ensure, Reply
from actors.providers.config import Providers, ProviderSpec
from actors.router import RouterActor
from actors.tools.config import ToolServers, ToolServerSpec
from actors.workflow import WorkflowActor
from api.process import prepare
from api.run_key import run_key
from api.running import note
from api.running_apart import run_apart
from api.settings import Settings
from events.account import DailyBudgets
from events.errors import ControlRoomError, StoreError
from events.open import open_blobs, open_store
from events.store import EventStore

_log = logging.getLogger(__name__)

ENSURE_WITHIN = 90.0
"""Seconds in which the supervisor has to have an actor running."""
ENSURE_TRY = 10.0
"""Seconds after which it is asked once more: it may have died with the request."""
ENSURE_PAUSE = 0.2
STORE_WITHIN = 30.0
"""Seconds in which a router that died has to let go of the store."""


def service_settings(
    settings: Settings, providers: Providers, tool_servers: ToolServers, nats_url: str
) -> dict[str, Any]:
    """What an actor process has to know. Holds the NATS token and what the store's URL holds."""
    return {
        "nats": nats_url,
        "store": settings.store_url,
        "providers": [spec.model_dump(mode="json") for spec in providers.values()],
        "tools": [spec.model_dump(mode="json") for spec in tool_servers.values()],
        "scripts": str(settings.scripts_path),
        "max_participants": settings.max_participants,
        "daily_budget": settings.daily_budget and settings.daily_budget.model_dump(mode="json"),
        "run_key": run_key(settings.home).hex(),
        "home": str(settings.home),
        "url": settings.url,
        "log_level": settings.log_level,
        "logs": "" if settings.ray else str(settings.logs_dir),
        "run": "" if settings.ray else str(settings.run_dir),
    }


def providers_of(settings: dict[str, Any]) -> Providers:
    """The providers that are in the settings of a service."""
    return Providers(*(ProviderSpec.model_validate(spec) for spec in settings["providers"]))


def tool_servers_of(settings: dict[str, Any]) -> ToolServers:
    """The tool servers that are in the settings of a service."""
    return ToolServers(*(ToolServerSpec.model_validate(spec) for spec in settings["tools"]))


@asynccontextmanager
async def router(settings: dict[str, Any]) -> AsyncIterator[Health]:
    """The router of the partitions in `settings["partitions"]`."""
    prepare(settings["log_level"], _log_file(settings, "router-0"))
    bus = await Bus.connect(settings["nats"], name="router")
    store = await _store(settings["store"])
    blobs = open_blobs(settings["store"])
    daily = settings["daily_budget"]
    grounds = Grounds(
        providers_of(settings),
        os.environ,
        blobs,
        script_folder=Path(settings["scripts"]),
        max_participants=settings["max_participants"],
        daily_budget=daily and DailyBudgets.model_validate(daily),
        tool_servers=tool_servers_of(settings),
    )
    actor = RouterActor(
        bus,
        store,
        blobs,
        grounds=grounds,
        ensure=partial(ensure, bus),
        run_key=bytes.fromhex(settings["run_key"]),
        partitions=settings["partitions"],
    )
    await actor.start()
    _note(settings, "router-0")
    _log.info("the router works; %d sessions go on", (await actor.health())["sessions"])
    try:
        yield actor.health
    finally:
        await actor.stop()
        await store.close()
        await bus.close()


@asynccontextmanager
async def models(settings: dict[str, Any]) -> AsyncIterator[Health]:
    """A host named `settings["name"]` of `settings["models"]`; more are added to it by request."""
    prepare(settings["log_level"], _log_file(settings, settings["name"]))
    bus = await Bus.connect(settings["nats"], name=settings["name"])
    host = ModelHost(bus, open_blobs(settings["store"]), providers_of(settings), os.environ)
    for provider, model in settings["models"]:  # those that it began with, after a restart too
        await host.ensure(provider, model)

    async def serve(msg: Msg) -> None:
        await host.serve(msg)
        _note(settings, settings["name"], models=(await host.health())["models"])

    async def retire(msg: Msg) -> None:
        await host.answer_retire(msg)
        _note(settings, settings["name"], models=(await host.health())["models"])

    await bus.subscribe(subjects.host(settings["name"]), serve)
    await bus.subscribe(subjects.retire(settings["name"]), retire)
    _note(settings, settings["name"], models=settings["models"])
    _log.info("taking calls for %s", ", ".join("/".join(name) for name in settings["models"]))
    try:
        yield host.health
    finally:
        await host.stop()
        await bus.close()


@asynccontextmanager
async def tools(settings: dict[str, Any]) -> AsyncIterator[Health]:
    """An actor of the tool server `settings["server"]`, under the name `settings["name"]`."""
    from actors.tools.actor import ToolServerActor
    from actors.tools.stdio import end_orphans

    name, server = settings["name"], settings["server"]
    prepare(settings["log_level"], _log_file(settings, name))
    if ended := await asyncio.to_thread(end_orphans, server):
        _log.warning("ended %d processes that an earlier actor has left", ended)
    bus = await Bus.connect(settings["nats"], name=name)
    spec = tool_servers_of(settings).find(server)
    actor = ToolServerActor(bus, open_blobs(settings["store"]), spec, os.environ)
    await actor.start()
    _note(settings, name, server=server)
    _log.info("taking calls for tool server %s", server)
    try:
        yield actor.health
    finally:
        await actor.stop()
        await bus.close()


@asynccontextmanager
async def workflows(settings: dict[str, Any]) -> AsyncIterator[Health]:
    """The actor of the framework `settings["framework"]`, under the name `settings["name"]`."""
    name, framework = settings["name"], settings["framework"]
    prepare(settings["log_level"], _log_file(settings, name))
    bus = await Bus.connect(settings["nats"], name=name)
    run = partial(run_apart, home=Path(settings["home"]))
    blobs = open_blobs(settings["store"])
    actor = WorkflowActor(bus, blobs, framework, run, url=settings["url"])
    await actor.start()
    _note(settings, name, framework=framework)
    _log.info("running workflows of %s", framework)
    try:
        yield actor.health
    finally:
        await actor.stop()
        await bus.close()


def _log_file(settings: dict[str, Any], name: str) -> Path | None:
    return Path(settings["logs"]) / f"{name}.log" if settings["logs"] else None


def _note(settings: dict[str, Any], name: str, **facts: Any) -> None:
    if settings["run"]:
        note(Path(settings["run"]), name, **facts)


async def ensure(bus: Bus, address: Address) -> None:
    """Have the supervisor start the actor, and another supervisor where the first dies.

    Raises `ConfigError` where there can be none, and after `ENSURE_WITHIN` seconds what hindered.
    """
    wanted = Ensure(actor=address)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ENSURE_WITHIN
    while True:
        try:
            answer = await bus.request(subjects.SUPERVISOR, wanted, timeout=ENSURE_TRY)
            return raised(Reply.model_validate_json(answer))
        except ControlRoomError as error:
            if not error.retryable or loop.time() > deadline:
                raise
        await asyncio.sleep(ENSURE_PAUSE)


async def _store(url: str) -> EventStore:
    """The store, as soon as a predecessor that is still ending lets go of it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STORE_WITHIN
    while True:
        try:
            return await asyncio.to_thread(open_store, url)
        except StoreError as error:
            if loop.time() > deadline:
                raise ControlRoomError(f"the store was not free in time: {error}") from error
        await asyncio.sleep(0.1)
