"""The conversation of a session: messages, answers, failures and decisions, in its order.

The answer to a retry stands directly behind the one that it replaces, or at the end of its turn
where there is none; the older one is kept and says what replaced it. So what is not superseded is
what the participants are shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from events.envelope import Event, Recorded
from events.runs import RunCompleted
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
)
from events.types import (
    ModelAnswered,
    ModelAsked,
    ModelFailed,
    Payload,
    RouteDecided,
    SessionCreated,
    SessionReconfigured,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnQueued,
    TurnStarted,
    VoteCast,
    VotesTallied,
)
from projections.projector import Page
from projections.transcript_bodies import (
    CallEnd,
    Step,
    Used,
    answered,
    called,
    failed,
    fragment,
    message,
    output,
)

_INSERT = "INSERT INTO transcript VALUES (?,?,?,?,?,?,?,?,?,NULL)"


class Transcripts:
    """Keeps `transcript`, the entries, and what is needed to make the next ones.

    `place` orders the entries of a session: the bytes of a position, followed, for an entry put
    directly behind another one, by bytes that fall with its own position.
    """

    name = "transcript"
    version = 4
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
        # Open turns, and who was asked in them: lines of JSON, see `Step`.
        "CREATE TABLE transcript_turns (session TEXT, turn TEXT, origin TEXT NOT NULL, "
        "steps TEXT NOT NULL, PRIMARY KEY (session, turn)) WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        _Writing(connection, page).write()


@dataclass(slots=True)
class _Turn:
    """An open turn; `origin` is the one that a chain of retries goes back to."""

    origin: str
    stored: bool
    steps: dict[str, Step] = field(default_factory=dict)
    calls: dict[str, Used] = field(default_factory=dict)
    asked: list[Step | Used] = field(default_factory=list)


class _Placed(NamedTuple):
    """An entry as its table has it."""

    sequence: int
    place: bytes
    turn: str
    participant: str | None
    speaks: int
    superseded_by: int | None


Seats = dict[str, tuple[str | None, str]]
"""Role and label by participant."""


class _Writing:
    """One page: what is read once, and what is written together."""

    def __init__(self, connection: sqlite3.Connection, page: Page) -> None:
        self._connection = connection
        self._page = page
        self._entries: list[tuple[object, ...]] = []
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._ended: dict[tuple[str, str], bool] = {}
        """Turns that ended on this page, and whether they are stored."""
        self._seats: dict[str, Seats] = {}
        self._seated: set[str] = set()
        """Sessions whose open turn has other roles than those configured last."""

    def write(self) -> None:
        """Write the page."""
        self._know_seats({recorded.event.stream for recorded in self._page})
        for recorded in self._page:
            if (take := _TAKES.get(type(recorded.event.data))) is not None:
                take(self, recorded, recorded.event, recorded.event.data)
        self._flush()
        self._connection.executemany(
            "DELETE FROM transcript_turns WHERE session = ? AND turn = ?",
            [key for key, stored in self._ended.items() if stored],
        )
        self._connection.executemany(
            "INSERT INTO transcript_turns VALUES (?,?,?,?) "
            "ON CONFLICT (session, turn) DO UPDATE SET steps = steps || excluded.steps",
            [
                (*key, turn.origin, _lines(turn.asked))
                for key, turn in self._turns.items()
                if turn.asked or not turn.stored
            ],
        )

    def _flush(self) -> None:
        self._connection.executemany(_INSERT, self._entries)
        self._entries.clear()

    # --- events ------------------------------------------------------------------------------

    def configured(
        self, recorded: Recorded, event: Event, data: SessionCreated | SessionReconfigured
    ) -> None:
        """Keep the roles; an open turn goes on with those that it began with."""
        seats = {model.id: (model.role, model.label) for model in data.config.models}
        self._connection.execute(
            "INSERT INTO transcript_seats VALUES (?,?,NULL) ON CONFLICT (session) DO UPDATE SET "
            "seated = coalesce(seated, seats), seats = excluded.seats",
            (event.stream, orjson.dumps(seats)),
        )
        self._seated.add(event.stream)
        self._seats.setdefault(event.stream, seats)

    def queued(self, recorded: Recorded, event: Event, data: TurnQueued) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO transcript_queue VALUES (?,?,?)",
            (event.stream, event.turn, orjson.dumps(message(data.message))),
        )

    def started(self, recorded: Recorded, event: Event, data: TurnStarted) -> None:
        session, turn = event.stream, event.turn or ""
        if session in self._seated:
            self._seated.discard(session)
            self._connection.execute(
                "UPDATE transcript_seats SET seated = NULL WHERE session = ?", (session,)
            )
            self._know_seats({session})
        opened = self._turns[session, turn] = _Turn(turn, stored=False)
        if data.retry is not None:
            opened.origin = self._origin(session, data.retry.turn)
            self._connection.execute(
                "INSERT OR REPLACE INTO transcript_retries VALUES (?,?,?)",
                (session, turn, opened.origin),
            )
            return
        body = message(data.message) if data.message else self._dequeued(session, turn)
        if body is not None:
            self._add(recorded, body, speaks=True)

    def asked(self, recorded: Recorded, event: Event, data: ModelAsked) -> None:
        participant, key = data.participant, event.step or ""
        role, label = self._seats.get(event.stream, {}).get(participant, (None, participant))
        turn = self._turn(event)
        turn.steps[key] = step = Step.of(key, role, label, data)
        turn.asked.append(step)

    def used(
        self, recorded: Recorded, event: Event, data: ToolCalled | ToolRefused | ApprovalRequested
    ) -> None:
        turn, key = self._turn(event), event.step or ""
        if key not in turn.calls:  # one that was approved is known
            turn.calls[key] = call = Used.of(key, data)
            turn.asked.append(call)
        if isinstance(data, ToolRefused):
            self.called(recorded, event, data)

    def called(self, recorded: Recorded, event: Event, data: CallEnd) -> None:
        if isinstance(data, ToolCancelled) and not self._is_open(event):
            return  # the end of the turn stands there already
        if (call := self._turn(event).calls.get(event.step or "")) is not None:
            self._add(recorded, called(call, data))

    def answered(self, recorded: Recorded, event: Event, data: ModelAnswered) -> None:
        step = self._turn(event).steps.get(event.step or "")
        if step is None:
            return
        if step.is_interim(data):
            self._add(recorded, answered("interim", step, data))
        elif step.public:
            body = answered("answer", step, data)
            self._add(recorded, body, step.participant, speaks=bool(data.text))

    def failed(self, recorded: Recorded, event: Event, data: ModelFailed) -> None:
        step = self._turn(event).steps.get(event.step or "")
        if step is None:
            return
        # Only what is public can be asked for again.
        participant = step.participant if step.public else None
        self._add(recorded, failed(step, data), participant)

    def gave(self, recorded: Recorded, event: Event, data: RunCompleted) -> None:
        self._add(recorded, output(data))

    def decided(
        self, recorded: Recorded, event: Event, data: RouteDecided | VoteCast | VotesTallied
    ) -> None:
        self._add(recorded, {"kind": "decision", "type": data.type, "data": fragment(data)})

    def ended(
        self, recorded: Recorded, event: Event, data: TurnCompleted | TurnFailed | TurnCancelled
    ) -> None:
        if isinstance(data, TurnFailed):
            problem = {"reason": data.reason, "message": data.message}
            self._add(recorded, {"kind": "end", "problem": problem})
        elif isinstance(data, TurnCancelled):
            self._dequeued(event.stream, event.turn or "")
            problem = {"reason": "cancelled", "message": data.reason}
            self._add(recorded, {"kind": "end", "problem": problem})
        key = (event.stream, event.turn or "")
        turn = self._turns.pop(key, None)
        self._ended[key] = self._ended.get(key, False) or turn is None or turn.stored

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
        origin = self._turn(event).origin
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

    def _turn(self, event: Event) -> _Turn:
        """The turn of an event, as far as it has come."""
        key = (event.stream, event.turn or "")
        turn = self._turns.get(key)
        if turn is None:
            found = None
            if key not in self._ended:
                found = self._connection.execute(
                    "SELECT origin, steps FROM transcript_turns WHERE session = ? AND turn = ?", key
                ).fetchone()
            turn = self._turns[key] = _Turn(found[0] if found else key[1], stored=bool(found))
            for line in found[1].split("\n")[:-1] if found else ():
                values = orjson.loads(line)
                if len(values) == len(Used._fields):
                    turn.calls[values[0]] = Used(*values)
                else:
                    turn.steps[values[0]] = Step(*values)
        return turn

    def _is_open(self, event: Event) -> bool:
        key = (event.stream, event.turn or "")
        if key in self._turns or key in self._ended:
            return key in self._turns
        select = "SELECT 1 FROM transcript_turns WHERE session = ? AND turn = ?"
        return self._connection.execute(select, key).fetchone() is not None

    def _origin(self, session: str, turn: str) -> str:
        """The turn that a chain of retries goes back to."""
        found = self._connection.execute(
            "SELECT origin FROM transcript_retries WHERE session = ? AND turn = ?", (session, turn)
        ).fetchone()
        return found[0] if found else turn

    def _know_seats(self, sessions: set[str]) -> None:
        """Learn the roles of these sessions' open or next turns."""
        found = self._connection.execute(
            "SELECT session, seats, seated FROM transcript_seats "
            "WHERE session IN (SELECT value FROM json_each(?))",
            (orjson.dumps(list(sessions)).decode(),),
        )
        for session, seats, seated in found:
            self._seats[session] = orjson.loads(seated or seats)
            if seated is not None:
                self._seated.add(session)

    def _dequeued(self, session: str, turn: str) -> dict[str, Any] | None:
        """Take the message of a queued turn."""
        found = self._connection.execute(
            "DELETE FROM transcript_queue WHERE session = ? AND turn = ? RETURNING message",
            (session, turn),
        ).fetchall()
        body: dict[str, Any] | None = orjson.loads(found[0][0]) if found else None
        return body


_TAKES: dict[type[Payload], Callable[[_Writing, Recorded, Event, Any], None]] = {
    SessionCreated: _Writing.configured,
    SessionReconfigured: _Writing.configured,
    TurnQueued: _Writing.queued,
    TurnStarted: _Writing.started,
    TurnCompleted: _Writing.ended,
    TurnFailed: _Writing.ended,
    TurnCancelled: _Writing.ended,
    ModelAsked: _Writing.asked,
    ModelAnswered: _Writing.answered,
    ModelFailed: _Writing.failed,
    RunCompleted: _Writing.gave,
    RouteDecided: _Writing.decided,
    VoteCast: _Writing.decided,
    VotesTallied: _Writing.decided,
    **dict.fromkeys((ToolCalled, ToolRefused, ApprovalRequested), _Writing.used),
    **dict.fromkeys((ToolReturned, ToolFailed, ToolCancelled, ApprovalDenied), _Writing.called),
}


def _lines(steps: Sequence[Step | Used]) -> str:
    return "".join(f"{orjson.dumps(step).decode()}\n" for step in map(list, steps))
