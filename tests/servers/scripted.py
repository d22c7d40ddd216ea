"""A model server that does exactly what a test tells it, mostly what it should not.

It knows nothing of any vendor: what it sends is written by `tests/servers/dialects` and by
`tests/servers/chat.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.servers.web import served

HANG: Final = "hang"
"""Send nothing more until the client goes away."""
CUT: Final = "cut"
"""Break the connection without an end."""

Step = bytes | str | asyncio.Event


@dataclass
class Reply:
    """What the server does: send `steps`, each in a packet of its own as far as possible.

    A step that is an event holds back what follows until it is set, `after` the headers as well;
    `hang_up` breaks the connection before them.
    """

    steps: Iterable[Step] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    after: asyncio.Event | None = None
    hang_up: bool = False


@dataclass
class Request:
    """What a client sent."""

    body: dict[str, Any]
    headers: dict[str, str]
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)


class ScriptedServer:
    """Answers every POST with the next reply, and the last one from then on.

    A POST whose path is in `pages`, and every GET, is answered with the JSON that stands there. A
    client that goes away before its reply is complete sets `gone`.
    """

    def __init__(self, pages: Mapping[str, Any]) -> None:
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.pages = dict(pages)
        self.asked_for: list[str] = []
        """Paths of the pages that were asked for."""
        self.gone = asyncio.Event()
        self.url = ""
        self._transports: dict[asyncio.BaseTransport, None] = {}

    def reply(self, *steps: Step, **how: Any) -> None:
        """Do this next."""
        self.replies.append(Reply(steps, **how))

    @property
    def connections(self) -> int:
        """How many connections clients have opened for answers so far."""
        return len(self._transports)

    def close_idle(self) -> None:
        """Close every connection without a word, as servers do with idle ones."""
        for transport in self._transports:
            if transport.is_closing():
                continue
            # At once, where `close` alone would wait for the next turn of the loop.
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as own:
                own.shutdown(socket.SHUT_RDWR)
            transport.close()

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Take a request."""
        if request.path in self.pages:
            return await self.page(request)
        assert request.transport is not None
        self._transports[request.transport] = None
        self.requests.append(
            Request(
                json.loads(await request.read()),
                dict(request.headers),
                request.path,
                dict(request.query),
            )
        )
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        try:
            return await self._play(request, reply)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    async def _play(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.after is not None:
            await reply.after.wait()
        assert request.transport is not None
        if reply.hang_up:
            request.transport.abort()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_type = reply.content_type
        await response.prepare(request)
        for step in reply.steps:
            if step == HANG:
                await asyncio.Event().wait()
            elif step == CUT:
                request.transport.abort()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            else:
                assert isinstance(step, bytes)
                await response.write(step)
        return response

    async def page(self, request: web.Request) -> web.Response:
        """What stands at that path."""
        self.asked_for.append(request.path)
        if request.path not in self.pages:
            return web.json_response({"error": {"message": "there is nothing here"}}, status=404)
        return web.json_response(self.pages[request.path])


@asynccontextmanager
async def listening(server: ScriptedServer) -> AsyncIterator[None]:
    """Serve on a port of its own, on the loop of the test; `url` is without a path then."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{path:.*}", server.post)
    app.router.add_get("/{path:.*}", server.page)
    async with served(app) as server.url:
        yield
