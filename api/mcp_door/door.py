"""`/mcp`: the way in; what is behind it is made when somebody comes.

The library takes longer to import than the rest of the API, and most rooms are never asked this
way. `api.guard` has checked Host, Origin and token by the time a request is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.types import Receive, Scope, Send

from api.doors import Doors
from api.guard import MAX_BODY

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from mcp.server.mcpserver import MCPServer
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

Build = Callable[[Doors], "MCPServer[Any] | Server[Any]"]


def _room(doors: Doors) -> MCPServer[Any]:
    from api.mcp_door.room import room_server

    return room_server(doors)


def _run(doors: Doors) -> Server[Any]:
    from api.mcp_door.run import run_server

    return run_server(doors)


BUILDS: Mapping[str, Build] = {"room": _room, "run": _run}
"""What stands behind the door, by who comes: see `visitor`."""


def visitor(scope: Scope) -> str:
    """Who comes, by what the guard has found out."""
    return "run" if scope["state"]["run"] is not None else "room"


class McpDoor:
    """ASGI application: streamable HTTP, in both of the protocol's generations."""

    def __init__(self, builds: Mapping[str, Build] = BUILDS) -> None:
        self._builds = builds
        self._managers: dict[str, asyncio.Task[StreamableHTTPSessionManager]] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        manager = await self._manager(visitor(scope), scope["app"].state.doors)
        scope["user"] = await asyncio.to_thread(_user, scope["state"]["principal"])
        await manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End every session."""
        self._closing.set()
        for making in self._managers.values():
            making.cancel()
        await asyncio.gather(*self._managers.values(), *self._keepers, return_exceptions=True)

    async def _manager(self, kind: str, doors: Doors) -> StreamableHTTPSessionManager:
        making = self._managers.get(kind)
        if making is None or (making.done() and making.exception() is not None):
            making = asyncio.create_task(self._make(self._builds[kind], doors))
            self._managers[kind] = making
        return await asyncio.shield(making)

    async def _make(self, build: Build, doors: Doors) -> StreamableHTTPSessionManager:
        manager = await asyncio.to_thread(_built, build, doors)
        ready = asyncio.Event()
        # It is left by the task that has entered it.
        self._keepers.append(asyncio.create_task(self._keep(manager, ready)))
        await ready.wait()
        return manager

    async def _keep(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        async with manager.run():
            ready.set()
            await self._closing.wait()


def _built(build: Build, doors: Doors) -> StreamableHTTPSessionManager:
    from mcp.server.transport_security import TransportSecuritySettings

    server = build(doors)
    server.streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=MAX_BODY,
    )
    return server.session_manager


def _user(principal: str) -> object:
    """Whom a session of the protocol belongs to: nobody else may go on with it."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return cast(object, AuthenticatedUser(AccessToken(token="", client_id=principal, scopes=[])))
