"""The Ray supervisor: the driver that has the router and the models' hosts running."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.bus import Bus, Msg
from actors.cluster import Actor, ActorGone, Cluster, joined
from actors.hosting import raised, refusal
from actors.messages import Ensure, Reply
from api import services
from api.known import known_providers
from api.process import prepare
from api.settings import Settings, load_settings
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

WATCH = 1.0
"""Seconds between two looks at the router."""
ADD_WITHIN = 30.0
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
        self._placed: dict[tuple[str, str], int] = {}
        self._hosts: dict[int, Actor] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._router: Actor | None = None

    async def start(self) -> None:
        """Returns when the router works and requests for models are taken."""
        await self._bus.subscribe(subjects.SUPERVISOR, self._requested)
        await self._start_router()

    async def watch(self) -> None:
        """Have the router running, for ever."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                if self._router is None:
                    await self._start_router()
                else:
                    await self._router.health(services.STORE_WITHIN)
            except ActorGone as error:
                _log.warning("%s; starting another", error)
                if self._router is not None:
                    self._cluster.end(self._router)
                self._router = None
            except ControlRoomError as error:
                _log.error("the router does not start: %s", error)

    async def ensure(self, provider: str, model: str) -> None:
        """Returns when an actor of the model takes calls."""
        place = self._placed.setdefault((provider, model), len(self._placed) // self._per_process)
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
                settings = {**self._settings, "name": name}
                host = await self._cluster.start(services.models, name, settings)
                self._hosts[place] = host
            wanted = Ensure(provider=provider, model=model)
            answer = await self._bus.request(subjects.host(host.name), wanted, timeout=ADD_WITHIN)
            raised(Reply.model_validate_json(answer))

    async def _start_router(self) -> None:
        settings = {**self._settings, "partitions": list(range(subjects.PARTITIONS))}
        self._router = await self._cluster.start(services.router, "router-0", settings)
        _log.info("the router works")

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


def scratch_folder(home: Path) -> Path:
    """Where Ray keeps sockets and logs of this room: short, because sockets lie in it."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"cr-{digest}"


async def supervise(settings: Settings) -> None:
    """Run until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    scratch = scratch_folder(settings.home)
    if not settings.ray:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
    async with joined(settings.ray, scratch) as cluster:
        bus = await Bus.connect(settings.nats_url, name="supervisor")
        arguments = services.service_settings(
            settings, known_providers(settings), settings.nats_url
        )
        supervisor = Supervisor(cluster, bus, arguments, settings.models_per_process)
        await supervisor.start()
        watch = asyncio.create_task(supervisor.watch())
        until = asyncio.create_task(ended.wait())
        try:
            done, _ = await asyncio.wait({watch, until}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            watch.cancel()
            await bus.close()


if __name__ == "__main__":
    _settings = load_settings()
    prepare(_settings.log_level)
    asyncio.run(supervise(_settings))
