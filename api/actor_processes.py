"""Actors that have a process each: started when one is wanted, and again when it is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from actors.cluster import Actor, ActorGone, Cluster, Service

_log = logging.getLogger(__name__)


class ActorProcesses:
    """Actors on a cluster by their names, each in a process of its own.

    All are given `settings`, and beside these their own.
    """

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._actors: dict[str, Actor] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, name: str, service: Service, **own: Any) -> None:
        """Returns when the actor of that name runs: the one that does, or a new one."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            if (actor := self._actors.get(name)) is not None:
                try:
                    await actor.health()
                except ActorGone as error:
                    _log.warning("%s; starting another", error)
                    self._cluster.end(actor)
                    del self._actors[name]
                else:
                    return
            settings = {**self._settings, "name": name, **own}
            self._actors[name] = await self._cluster.start(service, name, settings)
