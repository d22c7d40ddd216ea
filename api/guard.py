"""Who may talk to the room: checks Host, Origin, token and length before anything is read.

- **Host** has to be a name of this room, so that a web page cannot reach it through a name of its
  own that resolves to this machine. Where the room listens beyond loopback, any IP address will do
  as well: such an attack needs a name.
- **Origin**, which browsers send, has to be the room's own or an allowed one for everything that
  changes something and for WebSockets.
- **The token**, where some are set, has to be one of them and tells the principal. It comes as
  `Authorization: Bearer TOKEN`. Browsers cannot send that with a WebSocket; they offer the
  sub-protocols `control-room.v1` and `bearer.<TOKEN in base64url without padding>` instead. It is
  never taken from the address, which ends up in logs.
- **The token of a workflow's run** opens the doors at which runs ask, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
from functools import cached_property

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.run_tokens import PREFIX, RunToken, run_of
from api.problems import ProblemError, answer, path_of
from api.run_key import run_key
from api.settings import LOCAL, LOOPBACK_NAMES, Settings

SUBPROTOCOL = "control-room.v1"
MAX_BODY = 6 * 1024 * 1024 + 64 * 1024
"""Bytes of a request: a message of 1 MB with every character escaped, and what is around it."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})
_OPEN_BELOW = ("/docs/", "/problems/")
_FOR_RUNS = ("/openai/", "/mcp", "/models/")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


class Guard:
    """ASGI middleware that lets a request through, or answers it with a problem."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        own = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._hosts = frozenset({*LOOPBACK_NAMES, own, *settings.allowed_hosts})
        self._any_address = not settings.loopback
        self._origins = frozenset(settings.allowed_origins)
        self._principals = {
            name: token.get_secret_value().encode() for name, token in settings.principals.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            try:
                self._check_host(headers)
                self._check_origin(scope, headers)
                self._admit(scope, headers)
                _check_length(headers)
            except ProblemError as problem:
                await answer(problem, path_of(scope))(scope, receive, send)
                return
        await self._app(scope, _limited(receive), send)

    def _check_host(self, headers: Headers) -> None:
        match = _HOST.fullmatch(headers.get("host", ""))
        if match is not None:
            host = match[1].lower()
            if host in self._hosts or (self._any_address and _is_address(host)):
                return
        raise ProblemError(
            "forbidden",
            "this room is not reached under that Host: use localhost, or add the name to "
            "CONTROL_ROOM_ALLOWED_HOSTS",
        )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or (scope["type"] == "http" and scope["method"] in _SAFE):
            return
        origin = origin.lower()
        own = origin.partition("://")[2] == headers.get("host", "").lower()
        if not (own or origin in self._origins):
            raise ProblemError(
                "forbidden",
                "pages of that Origin may not use this room: add it to "
                "CONTROL_ROOM_ALLOWED_ORIGINS",
            )

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Note who asks: its `principal`, and the `run` of a workflow that it is."""
        state = scope.setdefault("state", {})
        run = self._run(scope, headers)
        state["run"] = run
        state["principal"] = f"run:{run.session}" if run else self._principal(scope, headers)

    def _run(self, scope: Scope, headers: Headers) -> RunToken | None:
        given = _bearer(headers)
        if not given.startswith(PREFIX.encode()):
            return None
        run = run_of(given.decode("ascii", "replace"), self._run_key)
        path: str = scope["path"]
        if run is not None and not path.startswith(_FOR_RUNS):
            raise ProblemError(
                "forbidden", "the token of a run opens the doors for models and tools only"
            )
        return run

    @cached_property
    def _run_key(self) -> bytes:
        return run_key(self._settings.home)

    def _principal(self, scope: Scope, headers: Headers) -> str:
        """Who asks, by the token that came."""
        given = _bearer(headers) or (_offered(scope) if scope["type"] == "websocket" else b"")
        broken = given.startswith(PREFIX.encode())  # since a whole one is known as a run's
        if not self._principals and not broken:
            return LOCAL
        # Each is compared, whichever fits: the time that it takes tells nothing of them.
        known = self._principals.items()
        fits = [name for name, token in known if secrets.compare_digest(given, token)]
        path: str = scope["path"]
        if not fits and not (path in _OPEN or path.startswith(_OPEN_BELOW)):
            raise ProblemError(
                "unauthorized",
                "the token of that run is none of this room: use the one that the run was given"
                if broken
                else "this room needs a token: send 'Authorization: Bearer TOKEN' with the value of"
                " CONTROL_ROOM_TOKEN",
                headers={"WWW-Authenticate": 'Bearer realm="control-room"'},
            )
        return fits[-1] if fits else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _bearer(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def _offered(scope: Scope) -> bytes:
    for offer in scope.get("subprotocols", ()):
        if offer.startswith("bearer."):
            encoded = offer.removeprefix("bearer.")
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
            except (binascii.Error, ValueError):
                return b""
    return b""


def _check_length(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise ProblemError(
            "too-large",
            "the request is longer than this room takes: a message has at most 1 MB, an attached "
            "file 5 MB (store it with POST /v1/blobs), a session's configuration 6 MB",
        )


def _limited(receive: Receive) -> Receive:
    """Count what comes, for bodies that do not say their length."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise HTTPException(413)  # while the body is read, nothing else passes through
        return message

    return limited
