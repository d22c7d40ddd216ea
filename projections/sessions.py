"""The list of sessions: one row each, newest first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal, get_args

import orjson
from pydantic import Field

from events.config import Pattern, SessionConfig
from events.envelope import Event, Recorded
from events.errors import ConfigError
from events.exact import add
from events.types import (
    ModelAnswered,
    ModelDiscarded,
    ModelFailed,
    Payload,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnQueued,
    TurnStarted,
)
from events.values import Message, Value
from projections import cursors
from projections.money import Money, plain
from projections.projector import Page

PREVIEW = 200
"""Characters of a message that the list shows at most."""

DOOR = "door"
"""The tag of sessions that were made for a single request; only who asks for them lists them."""

Status = Literal["active", "paused", "closed"]
End = Literal["completed", "failed", "cancelled"]


class Seat(Value):
    """A participant, in short. `label` is how the others see it."""

    id: str
    role: str | None
    label: str
    provider: str
    model: str


class SessionSummary(Value):
    """One session, as of `position` of its stream."""

    id: str
    title: str | None
    status: Status
    pattern: Pattern
    framework: str | None = Field(description="of the workflow that it runs")
    participants: tuple[Seat, ...]
    turns: int = Field(description="queued, open and ended, retries included")
    open_turn: str | None
    ended: End | None = Field(description="how the last turn ended that was open")
    queued: int = Field(description="messages that wait behind the open turn")
    tags: tuple[str, ...]
    is_youtube_run: bool
    created_at: datetime
    updated_at: datetime
    preview: str | None = Field(description="the beginning of what a person posted last")
    cost: Money = Field(description="of the calls that have a price")
    unpriced: int = Field(description="calls with tokens, but without a price")
    position: int


class SessionPage(Value):
    """Some sessions, newest first.

    `next` is the cursor of those that follow, None at the end; sessions that are added meanwhile
    move nothing. `position` is the sequence of the store up to which events are counted in.
    """

    sessions: tuple[SessionSummary, ...]
    next: str | None
    position: int


@dataclass(slots=True)
class _Row:
    """A session as its table has it; `created` is the sequence of its first event."""

    id: str
    created: int
    title: str | None
    status: str
    pattern: str
    framework: str | None
    participants: bytes
    turns: int
    open_turn: str | None
    ended: str | None
    queued: int
    tags: bytes
    is_youtube_run: bool
    created_at: str
    updated_at: str
    preview: str | None
    cost: str
    unpriced: int
    position: int


_NAMES = tuple(field.name for field in fields(_Row))
_VALUES = attrgetter(*_NAMES)
_SELECT = f"SELECT {', '.join(_NAMES)} FROM sessions"
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_NAMES)}) VALUES ({', '.join('?' for _ in _NAMES)}) "
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES)}"
)


class Sessions:
    """Keeps `sessions`, and `sessions_tags` to find them by."""

    name = "sessions"
    version = 3
    ddl: tuple[str, ...] = (
        "CREATE TABLE sessions ("
        "id TEXT PRIMARY KEY, created INTEGER NOT NULL UNIQUE, title TEXT, status TEXT NOT NULL, "
        "pattern TEXT NOT NULL, framework TEXT, participants BLOB NOT NULL, "
        "turns INTEGER NOT NULL, open_turn TEXT, ended TEXT, queued INTEGER NOT NULL, "
        "tags BLOB NOT NULL, is_youtube_run INTEGER NOT NULL, created_at TEXT NOT NULL, "
        "updated_at TEXT NOT NULL, preview TEXT, cost TEXT NOT NULL, "
        "unpriced INTEGER NOT NULL, position INTEGER NOT NULL)",
        "CREATE INDEX sessions_by_status ON sessions (status, created)",
        "CREATE INDEX sessions_by_pattern ON sessions (pattern, created)",
        "CREATE TABLE sessions_tags (tag TEXT NOT NULL, created INTEGER NOT NULL, "
        "PRIMARY KEY (tag, created)) WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        streams = {recorded.event.stream for recorded in page}
        rows = {row.id: row for row in _find(connection, streams)}
        last: dict[str, Event] = {}
        for recorded in page:
            event = recorded.event
            id, data = event.stream, event.data
            if id not in rows:
                if not isinstance(data, SessionCreated):
                    continue
                rows[id] = _created(recorded, data.config)
                _tag(connection, recorded.sequence, data.config.tags)
            row = rows[id]
            if isinstance(data, SessionReconfigured):
                _untag(connection, row)
                _configure(row, data.config)
                _tag(connection, row.created, data.config.tags)
            if (fold := _FOLDS.get(type(data))) is not None:
                fold(row, event, data)
            last[id] = event
        for id, event in last.items():
            row = rows[id]
            row.position, row.updated_at = event.position, event.at.isoformat()
        connection.executemany(_UPSERT, map(_VALUES, rows.values()))


def _find(connection: sqlite3.Connection, ids: Iterable[str]) -> Iterator[_Row]:
    """Those of the sessions that there are."""
    found = connection.execute(
        f"{_SELECT} WHERE id IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(ids)).decode(),),
    )
    return (_Row(*row) for row in found)


def _created(recorded: Recorded, config: SessionConfig) -> _Row:
    event = recorded.event
    row = _Row(
        id=event.stream,
        created=recorded.sequence,
        title=None,
        status="active",
        pattern="",
        framework=None,
        participants=b"",
        turns=0,
        open_turn=None,
        ended=None,
        queued=0,
        tags=b"",
        is_youtube_run=False,
        created_at=event.at.isoformat(),
        updated_at="",
        preview=None,
        cost="0",
        unpriced=0,
        position=0,
    )
    _configure(row, config)
    return row


def _configure(row: _Row, config: SessionConfig) -> None:
    row.title, row.pattern = config.title, config.routing_pattern
    row.framework = config.workflow.framework if config.workflow else None
    row.is_youtube_run = config.is_youtube_run
    row.tags = orjson.dumps(config.tags)
    row.participants = orjson.dumps(
        [
            {
                "id": model.id,
                "role": model.role,
                "label": model.label,
                "provider": model.provider,
                "model": model.model_name,
            }
            for model in config.models
        ]
    )


def _tag(connection: sqlite3.Connection, created: int, tags: tuple[str, ...]) -> None:
    connection.executemany(
        "INSERT INTO sessions_tags VALUES (?,?)", [(tag, created) for tag in dict.fromkeys(tags)]
    )


def _untag(connection: sqlite3.Connection, row: _Row) -> None:
    connection.executemany(
        "DELETE FROM sessions_tags WHERE tag = ? AND created = ?",
        [(tag, row.created) for tag in orjson.loads(row.tags)],
    )


def _paid(row: _Row, event: Event, data: ModelAnswered | ModelFailed | ModelDiscarded) -> None:
    if data.cost is not None:
        row.cost = plain(add(Decimal(row.cost), data.cost.amount))
    elif data.usage is not None:
        row.unpriced += 1


def _paused(row: _Row, event: Event, data: SessionPaused) -> None:
    row.status = "paused"


def _resumed(row: _Row, event: Event, data: SessionResumed) -> None:
    row.status = "active"


def _closed(row: _Row, event: Event, data: SessionClosed) -> None:
    row.status = "closed"


def _queued(row: _Row, event: Event, data: TurnQueued) -> None:
    row.turns += 1
    row.queued += 1
    row.preview = _preview(data.message)


def _started(row: _Row, event: Event, data: TurnStarted) -> None:
    row.open_turn = event.turn
    if data.message is None and data.retry is None:
        row.queued = max(0, row.queued - 1)
        return
    row.turns += 1
    if data.message is not None:
        row.preview = _preview(data.message)


def _ended(row: _Row, event: Event, data: TurnCompleted | TurnFailed | TurnCancelled) -> None:
    if event.turn == row.open_turn:
        row.open_turn, row.ended = None, data.type.removeprefix("turn.")
    elif isinstance(data, TurnCancelled):
        row.queued = max(0, row.queued - 1)


_FOLDS: dict[type[Payload], Callable[[_Row, Event, Any], None]] = {
    ModelAnswered: _paid,
    ModelFailed: _paid,
    ModelDiscarded: _paid,
    SessionPaused: _paused,
    SessionResumed: _resumed,
    SessionClosed: _closed,
    TurnQueued: _queued,
    TurnStarted: _started,
    TurnCompleted: _ended,
    TurnFailed: _ended,
    TurnCancelled: _ended,
}


def _preview(message: Message) -> str | None:
    """The beginning of a message, None where it is too long to stand in its event."""
    return message.content[:PREVIEW] if isinstance(message.content, str) else None


# --- reading ---------------------------------------------------------------------------------


def one_session(connection: sqlite3.Connection, id: str) -> SessionSummary | None:
    """The session of that id, or None."""
    row = next(_find(connection, [id]), None)
    return None if row is None else _summary(row)


def list_sessions(
    connection: sqlite3.Connection,
    limit: int,
    cursor: str | None,
    tag: str | None,
    status: str | None,
    *,
    pattern: Pattern | None = None,
) -> tuple[tuple[SessionSummary, ...], str | None]:
    """Sessions from the cursor on, and the cursor of the next.

    Without a tag, those that were made for a single request are left out.
    """
    conditions = ["created < ?"]
    before = _LAST if cursor is None else cursors.read(cursor, b"before", "sessions")
    values: list[int | str] = [before]
    if status is not None:
        if status not in get_args(Status):
            raise ConfigError(f"status {status!r} is none: use {', '.join(get_args(Status))}")
        conditions.append("status = ?")
        values.append(status)
    if pattern is not None:
        conditions.append("pattern = ?")
        values.append(pattern)
    if tag is None:
        conditions.append(
            "NOT EXISTS (SELECT 1 FROM sessions_tags WHERE tag = ? AND created = sessions.created)"
        )
        values.append(DOOR)
    else:
        conditions.append("created IN (SELECT created FROM sessions_tags WHERE tag = ?)")
        values.append(tag)
    found = connection.execute(
        f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY created DESC LIMIT ?",
        (*values, limit + 1),
    )
    rows = [_Row(*row) for row in found]
    more = cursors.written(b"before", rows[limit - 1].created) if len(rows) > limit else None
    return tuple(_summary(row) for row in rows[:limit]), more


_LAST = 2**63 - 1


def _summary(row: _Row) -> SessionSummary:
    return SessionSummary.model_validate(
        {
            "id": row.id,
            "title": row.title,
            "status": row.status,
            "pattern": row.pattern,
            "framework": row.framework,
            "participants": orjson.loads(row.participants),
            "turns": row.turns,
            "open_turn": row.open_turn,
            "ended": row.ended,
            "queued": row.queued,
            "tags": orjson.loads(row.tags),
            "is_youtube_run": bool(row.is_youtube_run),
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "preview": row.preview,
            "cost": Decimal(row.cost),
            "unpriced": row.unpriced,
            "position": row.position,
        }
    )
