"""An OpenAI-compatible server that does exactly what a test tells it, mostly what it should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

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


class ChatServer:
    """Answers every chat completion with the next reply, and the last one from then on.

    `gone` is set when a client has closed its connection before the reply was complete.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[Request] = []
        self.models = ["a-model"]
        self.gone = asyncio.Event()
        self._transports: dict[asyncio.BaseTransport, None] = {}
        self.base_url = ""

    def reply(self, *steps: Step, **how: Any) -> None:
        """Do this next."""
        self.replies.append(Reply(steps, **how))

    @property
    def connections(self) -> int:
        """How many connections clients have opened so far."""
        return len(self._transports)

    def close_idle(self) -> None:
        """Close every connection without a word, as servers do with idle ones."""
        for transport in self._transports:
            transport.close()

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self._transports[request.transport] = None
        self.requests.append(Request(json.loads(await request.read()), dict(request.headers)))
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

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": id, "object": "model"} for id in self.models]}
        )


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    """A server on a port of its own, on the loop of the test."""
    server = ChatServer()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", server._completions)
    app.router.add_get("/v1/models", server._models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def chunk(
    content: str | None = None,
    *,
    finish: str | None = None,
    model: str = "served-model",
    **delta: Any,
) -> bytes:
    """One event of a streamed answer."""
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
            "choices": [choice],
        }
    )


def usage(prompt: int = 10, completion: int = 5, **details: Any) -> bytes:
    """The event with which a stream tells its usage."""
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "served-model",
            "choices": [],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                **details,
            },
        }
    )


def event(item: Any) -> bytes:
    """Any JSON as an event."""
    return b"data: " + json.dumps(item).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def whole(*contents: str) -> list[bytes]:
    """A complete answer."""
    return [
        chunk(role="assistant"),
        *(chunk(content) for content in contents),
        chunk(finish="stop"),
        usage(),
        DONE,
    ]


def error(message: str, **fields: Any) -> bytes:
    """The body of a refusal."""
    return json.dumps({"error": {"message": message, **fields}}).encode()
