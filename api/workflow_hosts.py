"""Which process runs which framework's workflows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from actors.cluster import Cluster
from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import framework
from actors.frameworks.remote import placement
from api import services
from api.actor_processes import ActorProcesses
from events.errors import ConfigError


class WorkflowHosts:
    """The actors of all frameworks on a cluster, each in a process of its own."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._home = Path(settings["home"])
        self._actors = ActorProcesses(cluster, settings)

    async def ensure(self, name: str) -> None:
        """Returns when the framework's actor takes runs.

        Raises a `ConfigError` where there is no such framework, or its environment is missing.
        """
        await asyncio.to_thread(_check, name, self._home)
        await self._actors.ensure(f"workflows-{name}", services.workflows, framework=name)


def _check(name: str, home: Path) -> None:
    try:
        placement(framework(name).environment, home)
    except BadWorkflow as error:
        raise ConfigError(error.message) from None
