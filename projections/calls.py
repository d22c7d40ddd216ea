"""Every call that a model had an outcome of: what for, how long, how many tokens, what it cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from statistics import median
from typing import Any, NamedTuple

from events.envelope import Event
from events.types import (
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
    ModelFailed,
    SessionCreated,
    SessionReconfigured,
    TurnStarted,
    VotesTallied,
)
from projections.money import plain
from projections.projector import Page

_Step = tuple[str, str, str]
"""Session, turn and step."""


class _Asked(NamedTuple):
    """Who was asked, and what for; `pattern` is that of the turn."""

    participant: str
    provider: str
    model: str
    purpose: str
    public: bool
    pattern: str


class _Ended(NamedTuple):
    """What came of it, once it is there; times are in milliseconds."""

    day: str | None = None
    outcome: str | None = None
    served: str | None = None
    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost: str | None = None
    first_token: float | None = None
    duration: float | None = None


_STEP = "session, turn, step"
_NAMES = (*_STEP.split(", "), "position", *_Asked._fields, *_Ended._fields)
_INSERT = f"INSERT OR REPLACE INTO calls VALUES ({', '.join('?' for _ in _NAMES)})"


class Calls:
    """Keeps `calls`, one row an outcome, with what repricing and comparisons need of each.

    `position` is that of the outcome in its session, and 0 for a question that has none yet; a
    second outcome of a step, which was discarded, has a row of its own. Token counts are NULL where
    there is no usage. `calls_votes` has the candidates of every count, `calls_sessions` the pattern
    of each session and of its last turn.
    """

    name = "calls"
    version = 1
    ddl: tuple[str, ...] = (
        f"CREATE TABLE calls ({', '.join(_NAMES)}, PRIMARY KEY ({_STEP}, position)) WITHOUT ROWID",
        "CREATE INDEX calls_by_model ON calls (provider, model, purpose)",
        "CREATE TABLE calls_votes (session, turn, participant, position, won, "
        "PRIMARY KEY (session, turn, position, participant)) WITHOUT ROWID",
        "CREATE TABLE calls_sessions (session PRIMARY KEY, pattern, turn, turn_pattern) "
        "WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        rows, patterns = _Rows(connection), _Patterns(connection)
        for recorded in page:
            event, data = recorded.event, recorded.event.data
            match data:
                case ModelAsked():
                    rows.asked(event, data, patterns.of(event.stream, event.turn))
                case ModelAnswered() | ModelFailed() | ModelDiscarded():
                    rows.ended(event, data)
                case SessionCreated(config=config) | SessionReconfigured(config=config):
                    patterns.configured(event.stream, config.routing_pattern)
                case TurnStarted():
                    patterns.started(event.stream, event.turn)
                case VotesTallied():
                    _tallied(connection, event, data)
                case _:
                    pass
        rows.write()
        patterns.write()


class _Rows:
    """The rows of the steps that this page tells of."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._who: dict[_Step, _Asked | None] = {}
        self._open: dict[_Step, bool] = {}
        """Whether the step's last question has no outcome at the end of the page."""
        self._ended: list[tuple[Any, ...]] = []

    def asked(self, event: Event, data: ModelAsked, pattern: str) -> None:
        step = _step(event)
        self._who[step] = _Asked(
            data.participant, data.provider, data.model, data.purpose, data.public, pattern
        )
        self._open[step] = True

    def ended(self, event: Event, data: ModelAnswered | ModelFailed | ModelDiscarded) -> None:
        step = _step(event)
        if step not in self._who:
            self._who[step] = self._stored(step)
        if (who := self._who[step]) is not None:
            self._open[step] = False
            self._ended.append((*step, event.position, *who, *_ended(event, data)))

    def _stored(self, step: _Step) -> _Asked | None:
        """Who was asked last: by the row without an outcome, or else by the latest."""
        found = self._connection.execute(
            f"SELECT {', '.join(_Asked._fields)} FROM calls "
            "WHERE session = ? AND turn = ? AND step = ? ORDER BY position > 0, position DESC",
            step,
        ).fetchone()
        return _Asked(*found) if found else None

    def write(self) -> None:
        """Store them; a question that has its outcome now gives its row up."""
        self._connection.executemany(
            "DELETE FROM calls WHERE session = ? AND turn = ? AND step = ? AND position = 0",
            list(self._open),
        )
        waiting = [
            (*step, 0, *who, *_Ended())
            for step, open in self._open.items()
            if open and (who := self._who[step]) is not None
        ]
        self._connection.executemany(_INSERT, [*self._ended, *waiting])


def _step(event: Event) -> _Step:
    return event.stream, event.turn or "", event.step or ""


def _ended(event: Event, data: ModelAnswered | ModelFailed | ModelDiscarded) -> _Ended:
    ended = _Ended(
        day=event.at.date().isoformat(),
        outcome=data.type.removeprefix("model."),
        cost=None if data.cost is None else plain(data.cost.amount),
        duration=data.duration_ms,
    )
    if (usage := data.usage) is not None:
        ended = ended._replace(
            input=usage.input,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            output=usage.output,
            reasoning=usage.reasoning,
        )
    if isinstance(data, ModelAnswered):
        ended = ended._replace(served=data.served_model, first_token=data.first_token_ms)
    return ended


class _Patterns:
    """The patterns of sessions and of their last turns, as this page leaves them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rows: dict[str, tuple[str, str | None, str | None]] = {}
        self._changed: set[str] = set()

    def configured(self, session: str, pattern: str) -> None:
        _, *turn = self._row(session)
        self._set(session, (pattern, *turn))

    def started(self, session: str, turn: str | None) -> None:
        pattern = self._row(session)[0]
        self._set(session, (pattern, turn, pattern))

    def of(self, session: str, turn: str | None) -> str:
        """The pattern of a turn: that of its session when it began."""
        pattern, last, its = self._row(session)
        return its if its is not None and last == turn else pattern

    def _row(self, session: str) -> tuple[str, str | None, str | None]:
        if session not in self._rows:
            found = self._connection.execute(
                "SELECT pattern, turn, turn_pattern FROM calls_sessions WHERE session = ?",
                (session,),
            ).fetchone()
            self._rows[session] = found or ("", None, None)
        return self._rows[session]

    def _set(self, session: str, row: Iterable[Any]) -> None:
        pattern, turn, its = row
        self._rows[session] = pattern, turn, its
        self._changed.add(session)

    def write(self) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO calls_sessions VALUES (?,?,?,?)",
            [(session, *self._rows[session]) for session in sorted(self._changed)],
        )


def _tallied(connection: sqlite3.Connection, event: Event, data: VotesTallied) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO calls_votes VALUES (?,?,?,?,?)",
        [
            (
                event.stream,
                event.turn,
                one.participant,
                event.position,
                one.participant == data.winner,
            )
            for one in data.tallies
        ],
    )


# --- reading ---------------------------------------------------------------------------------


class Past(NamedTuple):
    """Medians of a model's answers for one purpose: tokens, reasoning included, and seconds."""

    observations: int
    tokens: int
    seconds: float


def past(connection: sqlite3.Connection, provider: str, model: str) -> dict[str, Past]:
    """What a model has answered so far, by purpose."""
    rows = connection.execute(
        "SELECT purpose, output + reasoning, duration FROM calls "
        "WHERE provider = ? AND model = ? AND outcome = 'answered'",
        (provider, model),
    )
    answers: dict[str, list[tuple[int, float]]] = {}
    for purpose, tokens, duration in rows:
        answers.setdefault(purpose, []).append((tokens, duration))
    return {
        purpose: Past(
            len(found),
            round(median(tokens for tokens, _ in found)),
            median(duration for _, duration in found) / 1000,
        )
        for purpose, found in answers.items()
    }
