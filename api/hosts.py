"""Which process hosts which model: started when one is asked for, ended when nobody uses it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from itertools import count
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.addresses import ModelAddress
from actors.bus import Bus
from actors.cluster import Actor, ActorGone, Cluster
from actors.hosting import raised
from actors.messages import Ensure, Reply, Retire, Retired
from api import services
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

MAX_HOSTS = 32
"""Processes for models at most; further models share them. Those with `resources` are apart."""
ADD_WITHIN = 10.0
"""Seconds in which a host has to have a further model running, or to let go of all of them."""
IDLE = 900.0
"""Seconds without a call after which the host of a model ends. The next call starts another."""
LOOK = 30.0
"""Seconds between two looks for such hosts."""


class Hosts:
    """The hosts of all models on a cluster, `per_process` models each at most.

    A host whose models had no call for `idle` seconds is ended; the next call starts another.
    """

    def __init__(
        self,
        cluster: Cluster,
        bus: Bus,
        settings: dict[str, Any],
        per_process: int = 1,
        idle: float = IDLE,
    ) -> None:
        self._cluster = cluster
        self._bus = bus
        self._settings = settings
        self._per_process = per_process
        self._idle = idle
        self._providers = services.providers_of(settings)
        self._resources = {
            id: {name: float(value) for name, value in spec.config["resources"].items()}
            for id, spec in self._providers.items()
            if spec.config.get("resources")
        }
        self._placed: dict[tuple[str, str], int] = {}
        self._hosts: dict[int, Actor] = {}
        self._locks: dict[int, asyncio.Lock] = {}

    async def ensure(self, provider: str, model: str) -> None:
        """Returns when an actor of the model takes calls."""
        name = (provider, model)
        resources = self._resources.get(self._providers.find(provider).id, {})
        while True:
            place = self._placed.get(name)
            if place is None:
                place = self._placed[name] = self._free_place(alone=bool(resources))
            async with self._locks.setdefault(place, asyncio.Lock()):
                if self._placed.get(name) != place:
                    continue  # whoever held the lock has given the place free
                try:
                    return await self._hosted(place, name, resources)
                except BaseException:
                    self._release(name)
                    raise

    async def _hosted(
        self, place: int, model: tuple[str, str], resources: Mapping[str, float]
    ) -> None:
        """Have the model taken by the host at its place, started where there is none."""
        host = self._hosts.get(place)
        if host is not None:
            try:
                health = await host.health()
            except ActorGone as error:
                _log.warning("%s; starting another", error)
                self._cluster.end(host)
                del self._hosts[place]
            else:
                if [*model] not in health["models"]:
                    await self._add(host, model)
                return
        name = f"models-{place}"
        settings = {**self._settings, "name": name, "models": [[*model]]}
        self._hosts[place] = await self._cluster.start(services.models, name, settings, resources)

    async def _add(self, host: Actor, model: tuple[str, str]) -> None:
        wanted = Ensure(actor=ModelAddress(*model))
        answer = await self._bus.request(subjects.host(host.name), wanted, timeout=ADD_WITHIN)
        raised(Reply.model_validate_json(answer))

    def _free_place(self, *, alone: bool) -> int:
        """The number of a host that takes a further model; `alone`: of one that has none."""
        taken = Counter(self._placed.values())
        if alone:
            return next(place for place in count(MAX_HOSTS) if not taken[place])
        free = (place for place in range(MAX_HOSTS) if taken[place] < self._per_process)
        return next(free, min(range(MAX_HOSTS), key=lambda place: taken[place]))

    def _release(self, model: tuple[str, str]) -> None:
        """Give a model's place free, and those of all models there where no host is left."""
        place = self._placed.pop(model)
        if place not in self._hosts:
            self._placed = {each: at for each, at in self._placed.items() if at != place}

    async def watch(self) -> None:
        """End hosts that nobody uses, for ever."""
        while True:
            await asyncio.sleep(min(LOOK, self._idle))
            for place, host in tuple(self._hosts.items()):
                try:
                    await self._retire(place, host)
                except (ControlRoomError, ValidationError) as error:
                    _log.info("%s is looked at again later: %s", host.name, error)

    async def _retire(self, place: int, host: Actor) -> None:
        """End a host whose models nobody uses. It says so itself: a call may be on its way."""
        if (await host.health())["idle"] < self._idle:
            return
        async with self._locks[place]:
            if self._hosts.get(place) is not host:
                return
            wanted = Retire(idle=self._idle)
            answer = await self._bus.request(subjects.retire(host.name), wanted, timeout=ADD_WITHIN)
            if not Retired.model_validate_json(answer).done:
                return
            self._cluster.end(host)
            del self._hosts[place]
            self._placed = {each: at for each, at in self._placed.items() if at != place}
            _log.info("%s has ended: nobody asked its models for %g s", host.name, self._idle)
