"""The WebSocket: events in order, each once, and the pieces of answers as they are written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import TypeAdapter, ValidationError

from api.doors import Doors, Inside
from api.following import Follower, unknown_session
from api.guard import SUBPROTOCOL
from api.problems import CURSOR, ProblemError
from api.shown import Shown
from api.spoken import carry_out
from events.errors import ControlRoomError
from events.values import Id

_log = logging.getLogger(__name__)

router = APIRouter()

UNKNOWN_SESSION, WRONG_CURSOR, TRY_AGAIN = 4404, 4422, 1013
FRAME = 64 * 1024
"""Characters of a frame that holds several lines."""

UNHEARD = 64
"""Things that a client says before the first of them is done; further ones are not heard."""

_ID: TypeAdapter[str] = TypeAdapter(Id)


@router.websocket("/v1/sessions/{session_id}/stream")
async def stream(
    doors: Inside, websocket: WebSocket, session_id: str, after: str = "0", lines: str = "false"
) -> None:
    """See the description of the OpenAPI document."""
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    sending = asyncio.create_task(_send_all(doors, websocket, session_id, after, lines == "true"))
    leaving = asyncio.create_task(_listen(doors, websocket, session_id))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        for ended in await asyncio.gather(sending, leaving, return_exceptions=True):
            if isinstance(ended, Exception):
                _log.error("the stream of a session failed", exc_info=ended)


async def _listen(doors: Doors, websocket: WebSocket, session: str) -> None:
    """Returns when the client is gone; until then does what it says, one thing after the other."""
    said: asyncio.Queue[str] = asyncio.Queue(UNHEARD)
    doing = asyncio.create_task(_obey(doors, websocket, session, said))
    try:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            if (text := message.get("text")) is not None and not said.full():
                said.put_nowait(text)
    finally:
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)


async def _obey(doors: Doors, websocket: WebSocket, session: str, said: asyncio.Queue[str]) -> None:
    with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
        while True:
            frame = await carry_out(doors, session, await said.get())
            await websocket.send({"type": "websocket.send", "text": frame})


async def _send_all(
    doors: Doors, websocket: WebSocket, session: str, after: str, lines: bool
) -> None:
    try:
        _ID.validate_python(session)
    except ValidationError:
        await _close(websocket, UNKNOWN_SESSION, unknown_session(session[:64]).detail)
        return
    if not (after.isascii() and after.isdecimal() and len(after) < 20):
        await _close(websocket, WRONG_CURSOR, f"after: not a whole number; {CURSOR}")
        return
    try:
        async with doors.feeds.follow(session, int(after), pieces=True) as follower:
            await _send(websocket, follower, lines)
    except ProblemError as problem:
        code = UNKNOWN_SESSION if problem.kind == "not-found" else WRONG_CURSOR
        await _close(websocket, code, problem.detail)
    except ControlRoomError as error:
        _log.warning("the stream of session %s ended: %s", session, error)
        await _close(websocket, TRY_AGAIN, "come back with your cursor")


async def _send(websocket: WebSocket, follower: Follower, lines: bool) -> None:
    with contextlib.suppress(WebSocketDisconnect, OSError):
        while True:
            for frame in _frames(await follower.next(), lines):
                await websocket.send({"type": "websocket.send", "text": frame})


def _frames(shown: Sequence[Shown], lines: bool) -> Iterator[str]:
    """One frame for each item, or few with several of them, one a line."""
    if not lines:
        yield from (item.frame for item in shown)
        return
    together: list[str] = []
    size = 0
    for item in shown:
        together.append(item.frame)
        size += len(item.frame)
        if size > FRAME:
            yield "\n".join(together)
            together, size = [], 0
    if together:
        yield "\n".join(together)


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    short = reason.encode()[:120].decode(errors="ignore")  # a close frame takes no more
    with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
        await websocket.close(code, short)
