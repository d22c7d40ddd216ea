"""The conversation of a session: messages, answers, failures and decisions, in its order.

The answer to a retry stands directly behind the one that it replaces, or at the end of its turn
where there is none; the older one is kept and says what replaced it. So what is not superseded is
what the participants are shown.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter

from events.config import SessionConfig
from events.envelope import Event, Recorded
from events.errors import ConfigError
from events.types import (
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    RouteDecided,
    SessionCreated,
    SessionReconfigured,
    TurnCancelled,
    TurnFailed,
    TurnQueued,
    TurnStarted,
    VoteCast,
    VotesTallied,
)
from events.values import Message, Value
from projections.entries import AnyEntry
from projections.projector import Page

_ENTRIES: TypeAdapter[tuple[AnyEntry, ...]] = TypeAdapter(tuple[AnyEntry, ...])

_INSERT = "INSERT INTO transcript VALUES (?,?,?,?,?,?,?,?,?,NULL)"
_INSERT_STEP = "INSERT OR REPLACE INTO transcript_steps VALUES (?,?,?,?,?,?,?,?,?,?)"

Key = tuple[str, str, str]
"""Session, turn and step."""


class Transcripts:
    """Keeps `transcript`, the entries, and what is needed to make the next ones.

    `place` orders the entries of a session: the bytes of a position, followed, for an entry put
    directly behind another one, by bytes that fall with its own position.
    """

    name = "transcript"
    version = 1
    ddl: tuple[str, ...] = (
        "CREATE TABLE transcript (sequence INTEGER PRIMARY KEY, session TEXT NOT NULL, "
        "position INTEGER NOT NULL, place BLOB NOT NULL, turn TEXT NOT NULL, "
        "origin TEXT NOT NULL, participant TEXT, speaks INTEGER NOT NULL, body BLOB NOT NULL, "
        "superseded_by INTEGER)",
        "CREATE UNIQUE INDEX transcript_in_order ON transcript (session, place, position)",
        # The roles as configured last, and those of the turn that began before that.
        "CREATE TABLE transcript_seats (session TEXT PRIMARY KEY, seats BLOB NOT NULL, "
        "seated BLOB) WITHOUT ROWID",
        "CREATE TABLE transcript_queue (session TEXT, turn TEXT, message BLOB NOT NULL, "
        "PRIMARY KEY (session, turn)) WITHOUT ROWID",
        "CREATE TABLE transcript_retries (session TEXT, turn TEXT, origin TEXT NOT NULL, "
        "PRIMARY KEY (session, turn)) WITHOUT ROWID",
        "CREATE TABLE transcript_steps (session TEXT, turn TEXT, step TEXT, "
        "participant TEXT NOT NULL, role TEXT, label TEXT NOT NULL, provider TEXT NOT NULL, "
        "model TEXT NOT NULL, purpose TEXT NOT NULL, public INTEGER NOT NULL, "
        "PRIMARY KEY (session, turn, step)) WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        writing = _Writing(connection)
        for recorded in page:
            writing.take(recorded)
        writing.finish()


class _Step(NamedTuple):
    """Who was asked by a step that has no outcome yet."""

    participant: str
    role: str | None
    label: str
    provider: str
    model: str
    purpose: str
    public: bool


class _Placed(NamedTuple):
    """An entry as its table has it."""

    sequence: int
    place: bytes
    turn: str
    participant: str | None
    speaks: int
    superseded_by: int | None


class _Writing:
    """One page: what is read once, and what is written together."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._entries: list[tuple[object, ...]] = []
        self._steps: dict[Key, _Step] = {}
        self._seats: dict[str, dict[str, list[str | None]]] = {}
        self._origins: dict[tuple[str, str], str] = {}

    def take(self, recorded: Recorded) -> None:
        event = recorded.event
        match event.data:
            case ModelAsked() as data:
                self._asked(event, data)
            case ModelAnswered() as data:
                self._answered(recorded, data)
            case ModelFailed() as data:
                self._failed(recorded, data)
            case ModelCancelled():
                self._step(event)
            case TurnStarted() as data:
                self._started(recorded, data)
            case TurnQueued() as data:
                self._connection.execute(
                    "INSERT OR REPLACE INTO transcript_queue VALUES (?,?,?)",
                    (event.stream, event.turn, orjson.dumps(_message(data.message))),
                )
            case RouteDecided() | VoteCast() | VotesTallied() as data:
                body = {"kind": "decision", "type": data.type, "data": _fragment(data)}
                self._add(recorded, body)
            case TurnFailed(reason=reason, message=message):
                self._ended(recorded, reason, message)
            case TurnCancelled(reason=message):
                self._ended(recorded, "cancelled", message)
            case SessionCreated(config=config) | SessionReconfigured(config=config):
                self._configured(event.stream, config)
            case _:
                pass

    def finish(self) -> None:
        """Write what was held back."""
        self._flush()
        self._connection.executemany(
            _INSERT_STEP, [(*key, *step) for key, step in self._steps.items()]
        )

    def _flush(self) -> None:
        self._connection.executemany(_INSERT, self._entries)
        self._entries.clear()

    # --- events ------------------------------------------------------------------------------

    def _configured(self, session: str, config: SessionConfig) -> None:
        """Keep the roles; an open turn goes on with those that it began with."""
        seats = orjson.dumps({model.id: (model.role, model.label) for model in config.models})
        self._connection.execute(
            "INSERT INTO transcript_seats VALUES (?,?,NULL) ON CONFLICT (session) DO UPDATE SET "
            "seated = coalesce(seated, seats), seats = excluded.seats",
            (session, seats),
        )

    def _started(self, recorded: Recorded, data: TurnStarted) -> None:
        event = recorded.event
        session, turn = event.stream, event.turn or ""
        self._seats.pop(session, None)
        self._connection.execute(
            "UPDATE transcript_seats SET seated = NULL WHERE session = ? AND seated IS NOT NULL",
            (session,),
        )
        self._origins[session, turn] = turn
        if data.retry is not None:
            origin = self._origin(session, data.retry.turn)
            self._origins[session, turn] = origin
            self._connection.execute(
                "INSERT OR REPLACE INTO transcript_retries VALUES (?,?,?)", (session, turn, origin)
            )
            return
        body = _message(data.message) if data.message else self._queued(session, turn)
        if body is not None:
            self._add(recorded, body, speaks=True)

    def _queued(self, session: str, turn: str) -> dict[str, Any] | None:
        """Take the message of a queued turn."""
        found = self._connection.execute(
            "DELETE FROM transcript_queue WHERE session = ? AND turn = ? RETURNING message",
            (session, turn),
        ).fetchall()
        body: dict[str, Any] | None = orjson.loads(found[0][0]) if found else None
        return body

    def _asked(self, event: Event, data: ModelAsked) -> None:
        role, label = self._seat(event.stream, data.participant)
        self._steps[_key(event)] = _Step(
            data.participant, role, label, data.provider, data.model, data.purpose, data.public
        )

    def _answered(self, recorded: Recorded, data: ModelAnswered) -> None:
        step = self._step(recorded.event)
        if step is None or not step.public:
            return
        body = {
            **_spoken("answer", recorded.event, step),
            "text": _text(data.text),
            "reasoning": _text(data.reasoning),
            "usage": _fragment(data.usage),
            "cost": None if data.cost is None else _fragment(data.cost),
            "finish_reason": data.finish_reason,
            "served_model": data.served_model,
            "first_token_ms": data.first_token_ms,
            "duration_ms": data.duration_ms,
        }
        self._add(recorded, body, step.participant, speaks=bool(data.text))

    def _failed(self, recorded: Recorded, data: ModelFailed) -> None:
        step = self._step(recorded.event)
        if step is None:
            return
        body = {
            **_spoken("failure", recorded.event, step),
            "error": data.error,
            "message": data.message,
            "retryable": data.retryable,
            "partial": _text(data.partial),
        }
        # Only what is public can be asked for again.
        self._add(recorded, body, step.participant if step.public else None)

    def _ended(self, recorded: Recorded, reason: str, message: str) -> None:
        event = recorded.event
        if reason == "cancelled":
            self._queued(event.stream, event.turn or "")
        self._add(recorded, {"kind": "end", "problem": {"reason": reason, "message": message}})

    # --- entries -----------------------------------------------------------------------------

    def _add(
        self,
        recorded: Recorded,
        body: dict[str, Any],
        participant: str | None = None,
        *,
        speaks: bool = False,
    ) -> None:
        event = recorded.event
        session, turn, position = event.stream, event.turn or "", event.position
        origin = self._origin(session, turn)
        place = position.to_bytes(8)
        if speaks and origin != turn and participant is not None:
            place = self._instead(session, origin, participant, position)
        body = {"position": position, "at": event.at, "turn": turn, **body}
        row = (
            recorded.sequence,
            session,
            position,
            place,
            turn,
            origin,
            participant,
            speaks,
            orjson.dumps(body),
        )
        self._entries.append(row)

    def _instead(self, session: str, origin: str, participant: str, position: int) -> bytes:
        """The place of a retry's answer; what it replaces is marked."""
        self._flush()
        rows = [
            _Placed(*row)
            for row in self._connection.execute(
                "SELECT sequence, place, turn, participant, speaks, superseded_by FROM transcript "
                "WHERE session = ? AND origin = ? ORDER BY place",
                (session, origin),
            )
        ]
        spoken = [row for row in rows if row.speaks]
        own = [row for row in rows if row.participant == participant and row.superseded_by is None]
        older = [row for row in own if row.speaks]
        replaced = older or [row for row in own if row.turn == origin]
        # And earlier retries that came to nothing.
        vain = [row for row in own if not row.speaks and row.turn != origin]
        self._connection.executemany(
            "UPDATE transcript SET superseded_by = ? WHERE sequence = ?",
            [(position, row.sequence) for row in {*replaced[-1:], *vain}],
        )
        behind = older or spoken
        if not behind:
            return position.to_bytes(8)
        # Of two put behind the same entry the later one comes first.
        return behind[-1].place + (2**63 - position).to_bytes(8)

    # --- what is known from before -----------------------------------------------------------

    def _origin(self, session: str, turn: str) -> str:
        """The turn that a chain of retries goes back to."""
        key = (session, turn)
        if key not in self._origins:
            found = self._connection.execute(
                "SELECT origin FROM transcript_retries WHERE session = ? AND turn = ?", key
            ).fetchone()
            self._origins[key] = found[0] if found else turn
        return self._origins[key]

    def _seat(self, session: str, participant: str) -> tuple[str | None, str]:
        """Role and label of a participant of the open turn."""
        seats = self._seats.get(session)
        if seats is None:
            found = self._connection.execute(
                "SELECT coalesce(seated, seats) FROM transcript_seats WHERE session = ?", (session,)
            ).fetchone()
            seats = self._seats[session] = orjson.loads(found[0]) if found else {}
        role, label = seats.get(participant, (None, None))
        return role, label or participant

    def _step(self, event: Event) -> _Step | None:
        """Take the step that an outcome belongs to."""
        key = _key(event)
        if (step := self._steps.pop(key, None)) is not None:
            return step
        found = self._connection.execute(
            "DELETE FROM transcript_steps WHERE session = ? AND turn = ? AND step = ? "
            "RETURNING participant, role, label, provider, model, purpose, public",
            key,
        ).fetchall()
        return _Step(*found[0]) if found else None


def _key(event: Event) -> Key:
    return event.stream, event.turn or "", event.step or ""


def _spoken(kind: str, event: Event, step: _Step) -> dict[str, Any]:
    who = step._asdict()
    del who["public"]
    return {"kind": kind, "step": event.step or "", **who}


def _message(message: Message) -> dict[str, Any]:
    attachments = [_fragment(blob) for blob in message.attachments]
    return {"kind": "message", "text": _text(message.content), "attachments": attachments}


def _fragment(value: Value) -> orjson.Fragment:
    return orjson.Fragment(value.__pydantic_serializer__.to_json(value))


def _text(text: Any) -> Any:
    return _fragment(text) if isinstance(text, Value) else text


# --- reading ---------------------------------------------------------------------------------


def entries(
    connection: sqlite3.Connection, session: str, after: int, limit: int
) -> tuple[tuple[AnyEntry, ...], int | None]:
    """Entries behind the one at position `after`, and what to give as `after` for the next."""
    found = connection.execute(
        "SELECT position, superseded_by, body FROM transcript WHERE session = ? AND place > ? "
        "ORDER BY place LIMIT ?",
        (session, _place(connection, session, after), limit + 1),
    ).fetchall()
    trees = []
    for _, superseded_by, body in found[:limit]:
        tree = orjson.loads(body)
        if superseded_by is not None:
            tree["superseded_by"] = superseded_by
        trees.append(tree)
    more = found[limit - 1][0] if len(found) > limit else None
    return _ENTRIES.validate_python(trees), more


def _place(connection: sqlite3.Connection, session: str, after: int) -> bytes:
    if after < 0:
        raise ConfigError(f"'after' is a position, not {after}: use 'next' of a page, or 0")
    after = min(after, 2**63 - 1)
    found = connection.execute(
        "SELECT place FROM transcript WHERE session = ? AND position = ?", (session, after)
    ).fetchone()
    return bytes(found[0]) if found else after.to_bytes(8)
