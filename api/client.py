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
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
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
    object_of,
    problem_of,
    reason_of,
)
from api.client_runs import Runs
from events.errors import ConfigError

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
STARTED_WITHIN = 30.0  # seconds that a turn may wait for the tools that it stands on
TIMEOUT = 20.0
"""Seconds in which the room has to answer, besides what it was asked to wait: it says itself, after
about 14, that a part of it is away."""
CONNECT_WITHIN = 5.0
"""Seconds in which a connection has to be made."""
REPEATS = 3
"""How often a request whose connection broke is sent again."""
REPLAY_WITHIN = 600.0
"""Further seconds for a replay, which runs every turn again."""
LONGEST_MESSAGE = 1024 * 1024
"""Bytes of UTF-8 that a room takes as one message."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class RoomClient(Runs):
    """Speaks to the room at `url`; an async context manager.

    Raises `ConfigError` for what is no URL. Every call raises `RoomError` where the room refuses,
    and `RoomUnreachable` where there is none. A request whose connection breaks is sent again where
    that does no harm: posts carry an idempotency key for it.
    """

    def __init__(self, url: str = DEFAULT_URL, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no URL of a room: write it like {DEFAULT_URL}")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy of the environment leads away from this machine.
        self._proxied = parts.hostname not in ("localhost", "127.0.0.1", "::1")
        self._http = httpx2.AsyncClient(
            base_url=self.url, headers=self._headers, timeout=_within(), trust_env=self._proxied
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
        """Begin a session; without a `session_id` it is given one, see the answer.

        The same config under the same id again is the same session.
        """
        named = config.get("session_id") is not None
        return await self._call("POST", "/v1/sessions", json=dict(config), safe=named)

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
        self,
        session: str,
        content: str,
        *,
        attachments: Sequence[Mapping[str, Any]] = (),
        wait: float | None = None,
        key: str | None = None,
    ) -> Posted:
        """Post a message: returns when it is committed, or, with `wait`, when it is answered.

        `attachments` are what `store_file` returned. `wait` is in seconds; the turn's `status` says
        whether it ended within them. `key` makes a repetition the same turn.
        """
        files = {"attachments": [dict(one) for one in attachments]} if attachments else {}
        answer = await self._call(
            "POST",
            _path(session, "turns"),
            json={"content": content, **files},
            params={} if wait is None else {"wait": wait},
            headers={"Idempotency-Key": key or uuid4().hex},
            timeout=_within(STARTED_WITHIN + (wait or 0)),
            safe=True,
        )
        return cast("Posted", answer)

    async def store_file(self, name: str, content: bytes, media_type: str) -> dict[str, Any]:
        """Store a file, an image or a text, which then can go with messages of any session."""
        return await self._call(
            "POST",
            "/v1/blobs",
            content=content,
            params={"name": name},
            headers={"Content-Type": media_type},
            safe=True,
        )

    async def turn(self, session: str, turn: str) -> Posted:
        """A turn as of now: its status, its answer, everyone's answers and failures so far."""
        return cast("Posted", await self._call("GET", _path(session, "turns", turn)))

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

    # --- calls of tools that wait for a person ---------------------------------------------------

    async def waiting(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """A page of what waits for a person in all sessions: `{"waiting": [...], "next": cursor}`.

        What has waited longest comes first.
        """
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        return await self._call("GET", "/v1/approvals", params=query)

    async def approvals(self, session: str) -> dict[str, Any]:
        """What waits for a person in a session: `{"approvals": [...], "questions": [...]}`."""
        return await self._call("GET", _path(session, "approvals"))

    async def approve(self, session: str, turn: str, step: str, reason: str = "") -> dict[str, Any]:
        """Allow a call of a tool: it is made now."""
        return await self._decide(session, turn, step, "approve", {"reason": reason})

    async def deny(self, session: str, turn: str, step: str, reason: str = "") -> dict[str, Any]:
        """Do not allow a call of a tool: the model is told so, with the reason."""
        return await self._decide(session, turn, step, "deny", {"reason": reason})

    async def answer_question(
        self,
        session: str,
        turn: str,
        step: str,
        action: str,
        *,
        content: Mapping[str, Any] | None = None,
        question: str | None = None,
    ) -> dict[str, Any]:
        """Answer what a tool asks: `accept` it with content, `decline` it, or `cancel`."""
        said = {"action": action, "content": content, "question": question}
        return await self._decide(session, turn, step, "answer", said)

    async def _decide(
        self, session: str, turn: str, step: str, what: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        path = _path(session, "turns", turn, "steps", step, what)
        key = {"Idempotency-Key": uuid4().hex}
        return await self._call("POST", path, json=dict(body), headers=key, safe=True)

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

    async def stream(
        self, session: str, after: int = 0, *, notice: Callable[[str | None], None] | None = None
    ) -> AsyncGenerator[Event | Delta, None]:
        """Events behind position `after`, and the pieces of answers being written; never ends.

        Every event comes once and in order, whatever becomes of the connection, which is made again
        with the cursor; `RoomUnreachable` is raised where that fails for half a minute. `notice` is
        told at once why the connection is lost, and None when it is back. After a new one the
        pieces of open steps may come again from offset 0: `seq` tells.
        """
        from api.client_stream import follow

        path = _path(session, "stream")
        stream = follow(self.url, path, after, self._headers, proxied=self._proxied, notice=notice)
        async with aclosing(stream):
            async for message in stream:
                yield message

    async def transcript(self, session: str, after: int = 0, limit: int = 200) -> dict[str, Any]:
        """A page of the conversation as people read it; `next` is the `after` of the next page."""
        query = {"after": after, "limit": limit}
        return await self._call("GET", _path(session, "transcript"), params=query)

    async def entries(self, session: str) -> AsyncGenerator[dict[str, Any], None]:
        """The whole conversation, read page by page."""
        after: int | None = 0
        while after is not None:
            page = await self.transcript(session, after, limit=1000)
            for entry in page["entries"]:
                yield entry
            after = page["next"]

    async def text(self, text: str | Mapping[str, Any]) -> str:
        """A text of an event or a transcript: itself, or what its reference stands for."""
        if isinstance(text, str):
            return text
        query = {"size": text["size"]}
        answer = await self._answer("GET", f"/v1/blobs/{text['sha256']}", True, params=query)
        return answer.decode("utf-8", "replace")

    async def costs(self, session: str | None = None, **bounds: str | None) -> dict[str, Any]:
        """Tokens and money of a session by participant, or of the whole room by session.

        `bounds` of the whole room are `tag`, the days `since` and `until` (ISO 8601, UTC), and
        `prices`, a price table to tell the cost by as well.
        """
        path = "/v1/costs" if session is None else _path(session, "costs")
        return await self._call("GET", path, params=_bounds(bounds))

    async def choices(self, **bounds: str | None) -> dict[str, Any]:
        """The cheapest and the fastest model for each kind of work; `tag`, `since`, `until`."""
        return await self._call("GET", "/v1/choices", params=_bounds(bounds))

    async def replay(self, session: str) -> Replayed:
        """Run every turn again and compare each event with the log."""
        answer = await self._call(
            "POST", _path(session, "replay"), timeout=_within(REPLAY_WITHIN), safe=True
        )
        return cast("Replayed", answer)

    # --- the room --------------------------------------------------------------------------------

    async def models(self) -> dict[str, Any]:
        """The models that can take part, by provider."""
        return await self._call("GET", "/v1/models")

    async def providers(self) -> dict[str, Any]:
        """The configured providers."""
        return await self._call("GET", "/v1/providers")

    async def tools(self, *, start: float = 0) -> dict[str, Any]:
        """The configured tool servers and their tools; `start` seconds are waited for them."""
        return await self._call("GET", "/v1/tools", params={"start": start}, timeout=start + 20)

    async def presets(self) -> dict[str, Any]:
        """What is saved under a name: `{"presets": [{"name", "kind", "config", ...}]}`."""
        return await self._call("GET", "/v1/presets")

    async def save_preset(self, name: str, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Let the name stand for the configuration of a `room` or a `toolchain`."""
        body = {"kind": kind, "config": dict(config)}
        return await self._call("PUT", _preset(name), json=body, safe=True)

    async def delete_preset(self, name: str) -> dict[str, Any]:
        """Let the name stand for nothing any more."""
        return await self._call("DELETE", _preset(name))

    # --- inside ----------------------------------------------------------------------------------

    async def _call(
        self, method: str, path: str, *, safe: bool = False, **more: Any
    ) -> dict[str, Any]:
        """The answer's JSON. `safe`: doing it twice is the same as doing it once."""
        return object_of(await self._answer(method, path, safe or method == "GET", **more))

    async def _answer(self, method: str, path: str, safe: bool, **more: Any) -> bytes:
        repeats = REPEATS if safe else 0
        pause = _FIRST_PAUSE
        for attempt in range(repeats + 1):
            try:
                answer = await self._http.request(method, path, **more)
            except httpx2.ReadTimeout as error:
                # Whoever takes a connection and says nothing is no room, or hangs.
                silent = "the connection is taken, but nothing is answered"
                raise RoomUnreachable(self.url, silent) from error
            except httpx2.TransportError as error:
                never_heard = attempt == 0 and isinstance(error, httpx2.ConnectError)
                if attempt == repeats or never_heard:
                    raise RoomUnreachable(self.url, reason_of(error)) from error
            else:
                if not answer.is_success:
                    raise problem_of(answer.status_code, answer.content)
                return answer.content
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("unreachable")


def _within(more: float = 0) -> httpx2.Timeout:
    return httpx2.Timeout(TIMEOUT + more, connect=CONNECT_WITHIN)


def _path(session: str, *parts: str) -> str:
    return "/".join(["/v1/sessions", *(quote(part, safe="") for part in (session, *parts))])


def _preset(name: str) -> str:
    return f"/v1/presets/{quote(name, safe='')}"


def _bounds(given: Mapping[str, str | None]) -> dict[str, str]:
    names = {"since": "from", "until": "to"}
    return {names.get(name, name): value for name, value in given.items() if value is not None}
