"""A client of a room's API: what the command line, the demonstration and scripts use.

    async with RoomClient("http://127.0.0.1:8000") as room:
        session = await room.create_session({"session_id": "first", "models": [...]})
        turn = await room.post_turn("first", "What should we build?", wait=60)
        print(turn["answers"])

JSON objects are handed on as the room sends them, so a newer room's further fields arrive; the
typed dictionaries name what is always there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx2

from api.client_messages import (
    Delta,
    Event,
    Posted,
    Problem,
    Replayed,
    RoomError,
    RoomUnreachable,
    message_of,
    object_of,
    problem_of,
)

__all__ = [
    "Delta",
    "Event",
    "Posted",
    "Problem",
    "Replayed",
    "RoomClient",
    "RoomError",
    "RoomUnreachable",
]

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT = 30.0
"""Seconds in which the room has to answer, besides what it was asked to wait."""
PATIENCE = 30.0
"""Seconds in which a broken stream has to be connected again."""
REPEATS = 3
"""How often a request whose connection broke is sent again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class RoomClient:
    """Speaks to the room at `url`; an async context manager.

    Every call raises `RoomError` where the room refuses, and `RoomUnreachable` where there is none.
    A request whose connection breaks is sent again where that does no harm: posts carry an
    idempotency key for it.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem = f"{url!r} is no URL of a room: write it like {DEFAULT_URL}"
            raise RoomError(0, Problem(0, "Wrong URL", problem))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy of the environment leads away from this machine.
        self._proxied = parts.hostname not in ("localhost", "127.0.0.1", "::1")
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers=self._headers, timeout=TIMEOUT, trust_env=self._proxied
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all connections."""
        await self._http.aclose()

    # --- sessions --------------------------------------------------------------------------------

    async def create_session(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a session; the same config again gives the same session."""
        return await self._call("POST", "/v1/sessions", json=dict(config), safe=True)

    async def sessions(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """A page of sessions, the latest first: `{"sessions": [...], "next": cursor}`."""
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return await self._call("GET", "/v1/sessions", params=query)

    async def session(self, session: str) -> dict[str, Any]:
        """A session: its configuration, status and position."""
        return await self._call("GET", _path(session))

    async def reconfigure(self, session: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change keys of the configuration; takes effect with the next turn."""
        return await self._call("PATCH", _path(session), json=dict(changes))

    async def pause(self, session: str) -> dict[str, Any]:
        """Issue no new step until resumed."""
        return await self._call("POST", _path(session, "pause"), safe=True)

    async def resume(self, session: str) -> dict[str, Any]:
        """Go on."""
        return await self._call("POST", _path(session, "resume"), safe=True)

    async def close_session(self, session: str) -> dict[str, Any]:
        """Cancel what is open and take no further turn."""
        return await self._call("POST", _path(session, "close"), safe=True)

    # --- turns -----------------------------------------------------------------------------------

    async def post_turn(
        self, session: str, content: str, *, wait: float | None = None, key: str | None = None
    ) -> Posted:
        """Post a message: returns when it is committed, or, with `wait`, when it is answered.

        `wait` is in seconds; the turn's `status` says whether it ended within them. `key` makes a
        repetition the same turn.
        """
        answer = await self._call(
            "POST",
            _path(session, "turns"),
            json={"content": content},
            params={} if wait is None else {"wait": wait},
            headers={"Idempotency-Key": key or uuid4().hex},
            timeout=TIMEOUT + (wait or 0),
            safe=True,
        )
        return cast("Posted", answer)

    async def cancel_turn(self, session: str, turn: str) -> dict[str, Any]:
        """Call off a turn, open or queued."""
        return await self._call("POST", _path(session, "turns", turn, "cancel"), safe=True)

    async def retry(self, session: str, turn: str, participant: str) -> Posted:
        """Ask one participant of an ended turn again; that is a turn of its own."""
        answer = await self._call(
            "POST",
            _path(session, "turns", turn, "retry"),
            json={"participant": participant},
            headers={"Idempotency-Key": uuid4().hex},
            safe=True,
        )
        return cast("Posted", answer)

    # --- what was said ---------------------------------------------------------------------------

    async def events(self, session: str, after: int = 0, limit: int = 500) -> list[Event]:
        """Events of a session behind position `after`, at most `limit`."""
        page = await self._call(
            "GET", _path(session, "events"), params={"after": after, "limit": limit}
        )
        return [Event.of(tree) for tree in page["events"]]

    async def all_events(self, session: str, after: int = 0) -> AsyncGenerator[Event, None]:
        """All events of a session behind position `after`, read page by page."""
        while page := await self.events(session, after):
            for event in page:
                yield event
            after = page[-1].position

    async def stream(self, session: str, after: int = 0) -> AsyncGenerator[Event | Delta, None]:
        """Events behind position `after`, and the pieces of answers being written; never ends.

        Every event comes once and in order, whatever becomes of the connection, which is made again
        with the cursor; `RoomUnreachable` is raised where that fails for `PATIENCE` seconds. After
        a new connection the pieces of open steps may come again from offset 0: `seq` tells.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException

        base = "ws" + self.url.removeprefix("http") + _path(session, "stream")
        loop = asyncio.get_running_loop()
        pause, lost = _FIRST_PAUSE, loop.time()
        while True:
            opened = False
            try:
                async with connect(
                    f"{base}?after={after}",
                    additional_headers=self._headers,
                    compression=None,
                    proxy=True if self._proxied else None,
                    open_timeout=TIMEOUT,
                    max_size=None,
                ) as socket:
                    opened = True
                    async for frame in socket:
                        message = message_of(json.loads(frame))
                        if isinstance(message, Event):
                            if message.position <= after:
                                continue
                            after = message.position
                        if message is not None:
                            yield message
            except InvalidStatus as error:
                status, body = error.response.status_code, error.response.body
                if status < 500 and status != 429:
                    raise problem_of(status, bytes(body or b"")) from None
                why = f"HTTP {status}"
            except (OSError, TimeoutError, WebSocketException) as error:
                why = _reason(error)
            else:
                why = "the connection was closed"
            if opened:
                pause, lost = _FIRST_PAUSE, loop.time()
            elif loop.time() - lost > PATIENCE:
                raise RoomUnreachable(self.url, why)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def transcript(self, session: str) -> dict[str, Any]:
        """The conversation as people read it."""
        return await self._call("GET", _path(session, "transcript"))

    async def costs(self, session: str) -> dict[str, Any]:
        """Tokens and money of a session, by participant."""
        return await self._call("GET", _path(session, "costs"))

    async def replay(self, session: str) -> Replayed:
        """Run every turn again and compare each event with the log."""
        answer = await self._call("POST", _path(session, "replay"), timeout=600, safe=True)
        return cast("Replayed", answer)

    # --- the room --------------------------------------------------------------------------------

    async def models(self) -> dict[str, Any]:
        """The models that can take part, by provider."""
        return await self._call("GET", "/v1/models")

    async def providers(self) -> dict[str, Any]:
        """The configured providers."""
        return await self._call("GET", "/v1/providers")

    # --- inside ----------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        *,
        safe: bool = False,
        timeout: float = TIMEOUT,
        **more: Any,
    ) -> dict[str, Any]:
        """The answer's JSON. `safe`: doing it twice is the same as doing it once."""
        repeats = REPEATS if safe or method == "GET" else 0
        pause = _FIRST_PAUSE
        for attempt in range(repeats + 1):
            try:
                answer = await self._http.request(method, path, timeout=timeout, **more)
            except httpx2.TransportError as error:
                never_heard = attempt == 0 and isinstance(error, httpx2.ConnectError)
                if attempt == repeats or never_heard:
                    raise RoomUnreachable(self.url, _reason(error)) from error
            else:
                if not answer.is_success:
                    raise problem_of(answer.status_code, answer.content)
                return object_of(answer.content)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("unreachable")


def _path(session: str, *parts: str) -> str:
    return "/".join(["/v1/sessions", *(quote(part, safe="") for part in (session, *parts))])


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0][:200]
