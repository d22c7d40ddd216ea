"""Which process runs which tool server: started when one is wanted, and again when it is gone."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from actors.cluster import Actor, ActorGone, Cluster
from actors.tools.config import ToolServerSpec
from api import services

_log = logging.getLogger(__name__)


class ToolHosts:
    """The actors of all tool servers on a cluster, each in a process of its own."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._servers = services.tool_servers_of(settings)
        self._actors: dict[str, Actor] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, server: str) -> None:
        """Returns when every actor of the server takes calls; the server itself may still start.

        Raises a `ConfigError` where there is no such server, or it refers to what cannot be read.
        """
        spec = self._servers.find(server)
        async with self._locks.setdefault(server, asyncio.Lock()):
            await asyncio.gather(*(self._running(spec, number) for number in range(spec.replicas)))

    async def _running(self, spec: ToolServerSpec, number: int) -> None:
        name = f"tools-{spec.name}-{number}"
        actor = self._actors.get(name)
        if actor is not None:
            try:
                await actor.health()
            except ActorGone as error:
                _log.warning("%s; starting another", error)
                self._cluster.end(actor)
                del self._actors[name]
            else:
                return
        settings = {**self._settings, "name": name, "server": spec.name}
        self._actors[name] = await self._cluster.start(services.tools, name, settings)
