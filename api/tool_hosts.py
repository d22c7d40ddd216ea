"""Which processes run which tool server."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.cluster import Cluster
from api import services
from api.actor_processes import ActorProcesses


class ToolHosts:
    """The actors of all tool servers on a cluster, each in a process of its own."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._servers = services.tool_servers_of(settings)
        self._actors = ActorProcesses(cluster, settings)

    async def ensure(self, server: str) -> None:
        """Returns when every actor of the server takes calls; the server itself may still start.

        Raises a `ConfigError` where there is no such server, or it refers to what cannot be read.
        """
        spec = self._servers.find(server)
        await asyncio.gather(
            *(
                self._actors.ensure(f"tools-{spec.name}-{number}", services.tools, server=spec.name)
                for number in range(spec.replicas)
            )
        )
