"""Doors such as a room has, for workflows: models that answer by what they are asked, and tools.

What a model says depends on the whole request, so that a request with anything of chance in it
makes every later one differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from aiohttp import web
from mcp import MCPError
from mcp.server.mcpserver import MCPServer
from mcp_types import INTERNAL_ERROR
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.frameworks.port import Doors
from tests.servers.chat import ChatServer
from tests.servers.scripted import Request, listening
from tests.waiting import eventually

TOKEN = "run-token-of-this-test"

Saying = Callable[[dict[str, Any]], dict[str, Any]]
"""From the body of a request to the assistant's message."""


def canonical(body: Any) -> str:
    """The one text of a JSON value."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def echoing(body: dict[str, Any]) -> dict[str, Any]:
    """Say who speaks and a digest of what was asked."""
    digest = hashlib.sha256(canonical(body).encode()).hexdigest()[:8]
    return {"content": f"{body['model']} says {digest}."}


def using_tools(body: dict[str, Any]) -> dict[str, Any]:
    """Call each tool that is offered once, all at the same time, and then say something."""
    called = any(message["role"] == "tool" for message in body.get("messages", ()))
    if called or not body.get("tools"):
        return echoing(body)
    return {
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {
                    "name": tool["function"]["name"],
                    "arguments": json.dumps(_arguments(tool["function"], body["model"])),
                },
            }
            for number, tool in enumerate(body["tools"])
        ],
    }


def _arguments(function: dict[str, Any], model: str) -> dict[str, str]:
    """A text for each parameter; to a coworker of CrewAI's, who it is."""
    names = function["parameters"]["properties"]
    return {name: "Researcher" if name == "coworker" else f"for {model}" for name in names}


def directing(body: dict[str, Any]) -> dict[str, Any]:
    """As above; whoever has to give JSON lets the agents speak once each, and ends it."""
    if not body.get("response_format"):
        return using_tools(body)
    speakers = ("researcher", "writer")
    spoken = sum(message.get("name") in speakers for message in body["messages"])
    choice = {
        "terminate": spoken >= len(speakers),
        "reason": f"{spoken} have spoken",
        "next_speaker": speakers[spoken] if spoken < len(speakers) else None,
        "final_message": None,
    }
    return {"content": json.dumps(choice)}


class ModelDoor(ChatServer):
    """Answers each chat completion with what `saying` makes of it, whole or as a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.saying: Saying = directing
        self.arrived = asyncio.Event()
        self.held: asyncio.Event | None = None
        """Where it is there, answers wait for it."""

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.requests.append(Request(body, dict(request.headers), request.path))
        self.arrived.set()
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"message": "wrong token"}}, status=401)
        try:
            if self.held is not None:
                await self.held.wait()
        except asyncio.CancelledError:
            self.gone.set()
            raise
        if request.path.endswith("/invoke"):
            said = self.saying({"model": request.path.split("/")[-2], **body})
            return web.json_response({"text": said["content"]})
        message = {"role": "assistant", **self.saying(body)}
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
            }
        )

    def bodies(self) -> list[str]:
        """The canonical text of every request so far, in the order of their arrival."""
        return [canonical(request.body) for request in self.requests]


@dataclass
class ToolDoor:
    """A real MCP server with two tools, behind the same token."""

    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    """Those that are let in."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    together: asyncio.Barrier | None = None
    """Where it is there, calls wait for each other."""
    away: bool = False
    """Whether each call is answered as one that the room could not make."""

    async def _called(self, name: str, text: str) -> None:
        self.calls.append((name, text))
        if self.away:
            raise MCPError(INTERNAL_ERROR, "the room is starting again")
        if self.together is not None:
            async with asyncio.timeout(30):
                await self.together.wait()

    def server(self) -> MCPServer:
        """The server itself."""
        server = MCPServer("doors", log_level="WARNING")

        @server.tool(name="words__count")
        async def count(text: str) -> int:
            """Counts the words of a text."""
            await self._called("words__count", text)
            return len(text.split())

        @server.tool(name="words__shout")
        async def shout(text: str) -> str:
            """Says a text in capitals."""
            await self._called("words__shout", text)
            return text.upper()

        return server


@dataclass
class OpenDoors:
    """Both doors, and where they are."""

    models: ModelDoor
    tools: ToolDoor

    @property
    def doors(self) -> Doors:
        """What a workflow is told of them."""
        return Doors(
            base_url=self.models.base_url,
            mcp_url=self.tools.url,
            token=TOKEN,
            invoke_url=self.models.url,
        )


def _guarded(app: ASGIApp, tokens: set[str]) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            if sent.removeprefix("Bearer ") not in tokens:
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    return guarded


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """A test's signals are its own."""


@asynccontextmanager
async def open_doors() -> AsyncIterator[OpenDoors]:
    """Both doors, on ports of their own, on the loop of the test."""
    models, tools = ModelDoor(), ToolDoor()
    listener = socket.create_server(("127.0.0.1", 0))
    tools.url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    app = _guarded(tools.server().streamable_http_app(), tools.tokens)
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started, within=10, what="the MCP server has started")
        async with listening(models):
            yield OpenDoors(models, tools)
    finally:
        server.should_exit = True
        await serving
