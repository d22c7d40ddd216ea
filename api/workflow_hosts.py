"""Which process runs which framework's workflows: started when one is wanted, and again if gone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from actors.cluster import Actor, ActorGone, Cluster
from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import framework
from actors.frameworks.remote import placement
from api import services
from events.errors import ConfigError

_log = logging.getLogger(__name__)


class WorkflowHosts:
    """The actors of all frameworks on a cluster, each in a process of its own."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._actors: dict[str, Actor] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, name: str) -> None:
        """Returns when the framework's actor takes runs.

        Raises a `ConfigError` where there is no such framework, or its environment is missing.
        """
        await asyncio.to_thread(_check, name, Path(self._settings["home"]))
        async with self._locks.setdefault(name, asyncio.Lock()):
            await self._running(name)

    async def _running(self, framework: str) -> None:
        name = f"workflows-{framework}"
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
        settings = {**self._settings, "name": name, "framework": framework}
        self._actors[name] = await self._cluster.start(services.workflows, name, settings)


def _check(name: str, home: Path) -> None:
    try:
        placement(framework(name).environment, home)
    except BadWorkflow as error:
        raise ConfigError(error.message) from None
