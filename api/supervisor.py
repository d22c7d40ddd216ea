"""The Ray supervisor: the driver that has the router, models and tool servers running."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.addresses import ModelAddress, ToolAddress, WorkflowAddress
from actors.bus import Bus, Msg
from actors.cluster import Actor, Cluster, ClusterGone, joined
from actors.hosting import refusal
from actors.messages import Ensure, Reply
from actors.tools.config import configured
from api import services
from api.hosts import Hosts
from api.known import known_providers
from api.process import in_one_line, prepare
from api.settings import Settings, load_settings
from api.tool_hosts import ToolHosts
from api.workflow_hosts import WorkflowHosts
from events.errors import ControlRoomError
from events.partitions import PARTITIONS

_log = logging.getLogger("api.supervisor")  # it runs as a script

WATCH = 1.0
"""Seconds between two looks at the router."""


class Supervisor:
    """Starts the router, and again when it is gone for good; hosts models and tool servers.

    Ray itself restarts a process that died; this is for what Ray gave up, and for what is new.
    """

    def __init__(
        self,
        cluster: Cluster,
        bus: Bus,
        settings: dict[str, Any],
        *,
        hosts: Hosts,
        tool_hosts: ToolHosts,
        workflow_hosts: WorkflowHosts,
    ) -> None:
        self._cluster = cluster
        self._bus = bus
        self._settings = settings
        self._hosts = hosts
        self._tool_hosts = tool_hosts
        self._workflow_hosts = workflow_hosts
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take requests for actors, and have the router running, for ever."""
        await self._bus.subscribe(subjects.SUPERVISOR, self._requested)
        await asyncio.gather(self._watch_router(), self._hosts.watch())

    async def _watch_router(self) -> None:
        router: Actor | None = None
        trouble = ""
        while True:
            try:
                if router is None:
                    router = await self._start_router()
                    trouble = ""
                else:
                    await router.health(services.STORE_WITHIN)
            except ControlRoomError as error:
                if router is not None:
                    _log.warning("%s; starting another", error)
                    self._cluster.end(router)
                    router = None
                elif trouble != (trouble := str(error)):
                    _log.error("the router does not start: %s", error)
            await asyncio.sleep(WATCH)

    async def _start_router(self) -> Actor:
        settings = {**self._settings, "partitions": list(range(PARTITIONS))}
        router = await self._cluster.start(services.router, "router-0", settings)
        _log.info("the router works")
        return router

    def _requested(self, msg: Msg) -> None:
        task = asyncio.create_task(self._answer(msg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, msg: Msg) -> None:
        try:
            match Ensure.model_validate_json(msg.data).actor:
                case ModelAddress(provider, model):
                    await self._hosts.ensure(provider, model)
                case ToolAddress(server):
                    await self._tool_hosts.ensure(server)
                case WorkflowAddress(framework):
                    await self._workflow_hosts.ensure(framework)
        except (ControlRoomError, ValidationError) as error:
            await msg.respond(refusal(error))
        else:
            await msg.respond(Reply())


@asynccontextmanager
async def _joined(settings: Settings) -> AsyncIterator[Cluster]:
    """The cluster; what Ray itself says of it, now and then pages, has a log of its own."""
    settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = (settings.logs_dir / "ray.log").open("a", buffering=1)
    with log, redirect_stdout(log), redirect_stderr(log):
        async with joined(settings.ray, settings.scratch_dir) as cluster:
            yield cluster


async def supervise(settings: Settings) -> None:
    """Run until SIGTERM; raises `ClusterGone` where Ray does not start, or ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if not settings.ray:
        await asyncio.to_thread(shutil.rmtree, settings.scratch_dir, ignore_errors=True)
    async with _joined(settings) as cluster:
        loop.add_signal_handler(signal.SIGTERM, ended.set)  # Ray has set one of its own
        bus = await Bus.connect(settings.nats_url, name="supervisor")
        arguments = services.service_settings(
            settings,
            known_providers(settings),
            configured(settings.tools_path),
            settings.nats_url,
        )
        hosts = Hosts(cluster, bus, arguments, settings.models_per_process)
        supervisor = Supervisor(
            cluster,
            bus,
            arguments,
            hosts=hosts,
            tool_hosts=ToolHosts(cluster, arguments),
            workflow_hosts=WorkflowHosts(cluster, arguments),
        )
        work = asyncio.create_task(supervisor.run())
        gone = asyncio.create_task(cluster.gone())
        until = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({work, gone, until}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            if gone.done():
                raise ClusterGone(f"Ray's {gone.result()} has ended, and all actors with it")
        finally:
            work.cancel()
            gone.cancel()
            await bus.close()


if __name__ == "__main__":
    _settings = load_settings()
    prepare(_settings.log_level)
    with in_one_line():
        asyncio.run(supervise(_settings))
