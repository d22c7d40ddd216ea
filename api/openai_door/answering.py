"""The response to a request: whole or streamed, given up where the client goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.openai_door.backend import Answering, Backend, Completion, Said
from api.openai_door.bringing import Brought
from api.openai_door.faults import DoorError, body
from api.openai_door.forms import ALIVE, Form, data
from api.problems import KINDS, ProblemError, of_error
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

HOLD = 10.0
"""Seconds that a stream waits for its first piece: what fails so far has a status of its own."""
BEAT = 15.0
"""Seconds without a piece after which a stream says that it is alive."""
_HEADERS = [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]


class Answer(Response):
    """Makes the call when it is to be sent; errors are raised until something was."""

    def __init__(
        self,
        backend: Backend,
        brought: Brought,
        key: str | None,
        *,
        stream: bool,
        usage: bool,
        answers: bool,
    ) -> None:
        super().__init__()
        self._backend, self._brought, self._key = backend, brought, key
        self._stream, self._usage, self._answers = stream, usage, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        calling = self._backend.answering(self._brought, self._key, pieces=self._stream)
        async with calling as answering:
            form = Form(answering.id, self._brought.model, answers=self._answers)
            say = self._streamed if self._stream else self._whole
            await while_there(answering, say(answering, form, send), receive)

    async def _whole(self, answering: Answering, form: Form, send: Send) -> None:
        content = form.whole(await answering.completion())
        await _begin(send, b"application/json", len(content))
        await send({"type": "http.response.body", "body": content})

    async def _streamed(self, answering: Answering, form: Form, send: Send) -> None:
        pieces = aiter(answering.pieces())
        coming = asyncio.ensure_future(anext(pieces))
        try:
            await asyncio.wait({coming}, timeout=HOLD)
            if coming.done():
                coming.result()  # which raises what failed so far
            await _begin(send, b"text/event-stream")
            await _send(send, form.first())
            async for part in self._parts(pieces, coming, form):
                await _send(send, part)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await send({"type": "http.response.body", "body": b""})

    async def _parts(
        self,
        pieces: AsyncIterator[Said | Completion],
        coming: asyncio.Future[Said | Completion],
        form: Form,
    ) -> AsyncIterator[bytes]:
        """What a stream consists of; where it breaks off, an error is the last of it."""
        try:
            while True:
                while not (await asyncio.wait({coming}, timeout=BEAT))[0]:
                    yield ALIVE
                piece = coming.result()
                if isinstance(piece, Completion):
                    yield form.last(piece, usage=self._usage)
                    return
                yield form.said(piece)
                coming = asyncio.ensure_future(anext(pieces))
        except DoorError as error:
            yield data(error.body)
        except (ProblemError, ControlRoomError) as error:
            problem = of_error(error) if isinstance(error, ControlRoomError) else error
            yield data(body(KINDS[problem.kind].status, problem.detail, problem.kind))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def while_there(
    answering: Answering, saying: Coroutine[Any, Any, None], receive: Receive
) -> None:
    """Say the answer; where the client goes away before it has all of it, call it off."""
    said = asyncio.create_task(saying)
    leaving = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({said, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not said.done():
            await _call_off(answering)
    finally:
        for task in (said, leaving):
            task.cancel()
        await asyncio.gather(said, leaving, return_exceptions=True)
    if not said.cancelled():
        said.result()


async def _begin(send: Send, media_type: bytes, length: int | None = None) -> None:
    headers = [(b"content-type", media_type), *_HEADERS]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _call_off(answering: Answering) -> None:
    """Nobody waits any more; where that cannot be said, the turn goes on to its end."""
    try:
        await answering.cancel()
    except ProblemError as problem:
        _log.warning("%s: the client is gone, and it goes on: %s", answering.id, problem.detail)
