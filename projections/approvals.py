"""What waits for a person, in all sessions: calls to allow or not, and what tools ask."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from events.envelope import Event, Recorded
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolReturned,
)
from events.types import TurnCancelled, TurnCompleted, TurnFailed
from events.values import Text, Value
from projections import cursors
from projections.projector import Page

_APPROVAL = ""
"""Stands for the id of a question where the question is whether the call is made."""


class Asked(Value):
    """A call of a tool about which a person is asked something."""

    turn: str
    step: str
    participant: str | None = Field(description="who calls it; None: the script or workflow")
    name: str = Field(description="of the tool, as models are offered it")
    server: str
    tool: str
    arguments: Text = Field(description="JSON text as the model wrote it, or its reference")
    position: int = Field(description="of the call's event in its session")


class OpenApproval(Asked):
    """A call that is made when it is approved."""


class OpenQuestion(Asked):
    """What a tool asks while it works. `form` is the JSON schema of an answer's content."""

    question: str = Field(description="its id")
    message: str
    form: dict[str, Any] | None = None
    url: str | None = Field(default=None, description="where to go instead of answering here")


class _InSession(Value):
    session_id: str
    since: datetime = Field(description="when the person was asked")


class WaitingApproval(_InSession, OpenApproval):
    """A call of any session that is made when it is approved."""

    kind: Literal["approval"] = "approval"


class WaitingQuestion(_InSession, OpenQuestion):
    """What a tool asks while it works in any session."""

    kind: Literal["question"] = "question"


Waiting = Annotated[WaitingApproval | WaitingQuestion, Field(discriminator="kind")]


class WaitingPage(Value):
    """Some of what waits for a person, what has waited longest first.

    `next` is the cursor of what follows, None at the end; what is decided or asked meanwhile moves
    nothing. `position` is the sequence of the store up to which events are counted in.
    """

    waiting: tuple[Waiting, ...]
    next: str | None
    position: int


class Approvals:
    """Keeps `approvals`, a row for each open question, and `approvals_calls`, the calls under way.

    `sequence` is that of the event with which the question came.
    """

    name = "approvals"
    version = 1
    ddl: tuple[str, ...] = (
        "CREATE TABLE approvals (session TEXT, turn TEXT, step TEXT, question TEXT, "
        "sequence INTEGER NOT NULL UNIQUE, since TEXT NOT NULL, asked BLOB NOT NULL, "
        "PRIMARY KEY (session, turn, step, question)) WITHOUT ROWID",
        "CREATE TABLE approvals_calls (session TEXT, turn TEXT, step TEXT, call BLOB NOT NULL, "
        "PRIMARY KEY (session, turn, step)) WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        for recorded in page:
            event = recorded.event
            match event.data:
                case ApprovalRequested() as wanted:
                    _call(connection, event, wanted)
                    _ask(connection, recorded, _APPROVAL, {})
                case ToolCalled() as called:
                    _call(connection, event, called)
                case ElicitationRequested() as asked:
                    said = asked.model_dump(mode="json", include={"message", "form", "url"})
                    _ask(connection, recorded, asked.id, said)
                case ApprovalGranted():
                    _answered(connection, event, _APPROVAL)
                case ElicitationAnswered(id=id):
                    _answered(connection, event, id)
                case ApprovalDenied() | ToolReturned() | ToolFailed() | ToolCancelled():
                    _over(connection, "session = ? AND turn = ? AND step = ?", _step(event))
                case TurnCompleted() | TurnFailed() | TurnCancelled():
                    _over(connection, "session = ? AND turn = ?", _step(event)[:2])
                case _:
                    pass


def _step(event: Event) -> tuple[str, str, str]:
    return event.stream, event.turn or "", event.step or ""


def _call(
    connection: sqlite3.Connection, event: Event, data: ApprovalRequested | ToolCalled
) -> None:
    use = data.use.model_dump(mode="json", include={"participant", "name", "arguments"})
    call = {**use, "server": data.server, "tool": data.tool, "position": event.position}
    connection.execute(
        "INSERT OR REPLACE INTO approvals_calls VALUES (?,?,?,?)",
        (*_step(event), orjson.dumps(call)),
    )


def _ask(
    connection: sqlite3.Connection, recorded: Recorded, question: str, asked: dict[str, Any]
) -> None:
    """Put the question, if it is about a call that is under way."""
    event, step = recorded.event, _step(recorded.event)
    connection.execute(
        "INSERT OR REPLACE INTO approvals SELECT session, turn, step, ?, ?, ?, ? "
        "FROM approvals_calls WHERE session = ? AND turn = ? AND step = ?",
        (question, recorded.sequence, event.at.isoformat(), orjson.dumps(asked), *step),
    )


def _answered(connection: sqlite3.Connection, event: Event, question: str) -> None:
    connection.execute(
        "DELETE FROM approvals WHERE session = ? AND turn = ? AND step = ? AND question = ?",
        (*_step(event), question),
    )


def _over(connection: sqlite3.Connection, where: str, values: tuple[str, ...]) -> None:
    """Nothing waits any more for what has ended."""
    for table in ("approvals", "approvals_calls"):
        connection.execute(f"DELETE FROM {table} WHERE {where}", values)


# --- reading ---------------------------------------------------------------------------------


def list_waiting(
    connection: sqlite3.Connection, limit: int, cursor: str | None
) -> tuple[tuple[Waiting, ...], str | None]:
    """What waits, from the cursor on, and the cursor of what follows."""
    after = 0 if cursor is None else cursors.read(cursor, b"after", "what waits for a person")
    rows = connection.execute(
        "SELECT sequence, since, question, asked, session, turn, step, call "
        "FROM approvals JOIN approvals_calls USING (session, turn, step) "
        "WHERE sequence > ? ORDER BY sequence LIMIT ?",
        (after, limit + 1),
    ).fetchall()
    more = cursors.written(b"after", rows[limit - 1][0]) if len(rows) > limit else None
    return tuple(_waiting(row[1:]) for row in rows[:limit]), more


def _waiting(row: tuple[Any, ...]) -> Waiting:
    since, question, asked, session, turn, step, call = row
    fields = {
        "session_id": session,
        "since": since,
        "turn": turn,
        "step": step,
        **orjson.loads(call),
    }
    if question == _APPROVAL:
        return WaitingApproval.model_validate(fields)
    return WaitingQuestion.model_validate({**fields, "question": question, **orjson.loads(asked)})
