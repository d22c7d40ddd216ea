"""The Ray supervisor: the driver that has the router and the models' hosts running."""

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
from actors.bus import Bus, Msg
from actors.cluster import Actor, ActorGone, Cluster, ClusterGone, joined
from actors.hosting import raised, refusal
from actors.messages import Ensure, Reply
from api import services
from api.known import known_providers
from api.process import in_one_line, prepare
from api.settings import Settings, load_settings
from events.errors import ControlRoomError

_log = logging.getLogger("api.supervisor")  # it runs as a script

WATCH = 1.0
"""Seconds between two looks at the router."""
MAX_HOSTS = 32
"""Processes for models at most; further models share them. Those with `resources` are apart."""
ADD_WITHIN = 10.0
"""Seconds in which a host has to have a further model running."""


class Supervisor:
    """Starts actors, starts them again when they are gone for good, and finds models a host.

    Ray itself restarts a process that died; this is for what Ray gave up, and for what is new.
    """

    def __init__(
        self, cluster: Cluster, bus: Bus, settings: dict[str, Any], per_process: int = 1
    ) -> None:
        self._cluster = cluster
        self._bus = bus
        self._settings = settings
        self._per_process = per_process
        self._providers = services.providers_of(settings)
        self._resources = {
            id: {name: float(value) for name, value in spec.config["resources"].items()}
            for id, spec in self._providers.items()
            if spec.config.get("resources")
        }
        self._placed: dict[tuple[str, str], int] = {}
        self._hosts: dict[int, Actor] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take requests for models, and have the router running, for ever."""
        await self._bus.subscribe(subjects.SUPERVISOR, self._requested)
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

    async def ensure(self, provider: str, model: str) -> None:
        """Returns when an actor of the model takes calls."""
        resources = self._resources.get(self._providers.find(provider).id, {})
        place = self._place(provider, model, alone=bool(resources))
        async with self._locks.setdefault(place, asyncio.Lock()):
            host = self._hosts.get(place)
            if host is not None:
                try:
                    health = await host.health()
                except ActorGone as error:
                    _log.warning("%s; starting another", error)
                    self._cluster.end(host)
                    host = None
                else:
                    if [provider, model] in health["models"]:
                        return
            if host is None:
                name = f"models-{place}"
                settings = {**self._settings, "name": name, "models": [[provider, model]]}
                host = await self._cluster.start(services.models, name, settings, resources)
                self._hosts[place] = host
                return
            wanted = Ensure(provider=provider, model=model)
            answer = await self._bus.request(subjects.host(host.name), wanted, timeout=ADD_WITHIN)
            raised(Reply.model_validate_json(answer))

    def _place(self, provider: str, model: str, *, alone: bool) -> int:
        """The number of the model's host; one that needs resources has a host of its own."""
        place = self._placed.get((provider, model))
        if place is None:
            if alone:
                place = MAX_HOSTS + sum(each >= MAX_HOSTS for each in self._placed.values())
            else:
                shared = sum(each < MAX_HOSTS for each in self._placed.values())
                place = shared // self._per_process % MAX_HOSTS
            self._placed[provider, model] = place
        return place

    async def _start_router(self) -> Actor:
        settings = {**self._settings, "partitions": list(range(subjects.PARTITIONS))}
        router = await self._cluster.start(services.router, "router-0", settings)
        _log.info("the router works")
        return router

    def _requested(self, msg: Msg) -> None:
        task = asyncio.create_task(self._answer(msg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, msg: Msg) -> None:
        try:
            wanted = Ensure.model_validate_json(msg.data)
            await self.ensure(wanted.provider, wanted.model)
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
            settings, known_providers(settings), settings.nats_url
        )
        supervisor = Supervisor(cluster, bus, arguments, settings.models_per_process)
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
