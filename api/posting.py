"""The short way of the request that a room is sent most: a message is posted to a session.

What the web framework does for a request costs several times what the room does for it. A short
message, posted as JSON and without a query, is therefore read and answered here. Any other request,
and any that is not as it should be, goes on to the routes as it came (`api.routes.turns`).
"""

from __future__ import annotations

import re
from collections import deque

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.doors import Doors
from api.problems import ProblemError, answer, path_of
from api.routes.turns import post_message
from api.views import MAX_KEY, NewTurn

LONGEST = 32 * 1024
"""Bytes of a body that is read here."""

_path = re.compile(r"/v1/sessions/([A-Za-z0-9_-]{1,64})/turns").fullmatch


class ShortPost:
    """ASGI middleware; it stands behind the guard."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]:
            found = _path(scope["path"])
            headers = Headers(scope=scope)
            key = headers.get("idempotency-key")
            json = headers.get("content-type") == "application/json"
            if found and json and (key is None or 0 < len(key) <= MAX_KEY):
                await self._post(found[1], key, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _post(
        self, session: str, key: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        messages = await _begin(receive)
        turn = _turn(messages)
        if turn is None:
            await self._app(scope, _again(messages, receive), send)
            return
        try:
            response = await post_message(self._doors.of_request(scope), session, turn, key)
        except ProblemError as problem:
            response = answer(problem, path_of(scope))
        await response(scope, receive, send)


async def _begin(receive: Receive) -> list[Message]:
    """The messages of a request up to the end of its body, or a little more than `LONGEST`."""
    messages, size = [], 0
    while size <= LONGEST:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    return messages


def _turn(messages: list[Message]) -> NewTurn | None:
    """What is posted; None where it is not there in whole, or not as it should be."""
    if messages[-1]["type"] != "http.request" or messages[-1].get("more_body"):
        return None
    try:
        return NewTurn.model_validate_json(b"".join(m.get("body", b"") for m in messages))
    except ValidationError:
        return None


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Gives `messages` again, then what comes behind them."""
    waiting = deque(messages)

    async def again() -> Message:
        return waiting.popleft() if waiting else await receive()

    return again
