"""What a transcript consists of, and how it is read."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Annotated, Literal

import orjson
from pydantic import Field, TypeAdapter

from events.errors import ConfigError
from events.types import Decision
from events.values import Attachment, Cost, Text, Usage, Value
from projections.answers import DecisionType, TurnProblem


class Entry(Value):
    """Base of all entries. `position` is that of its event; texts may be references."""

    position: int
    at: datetime
    turn: str


class MessageEntry(Entry):
    """What a person posted, where its turn began."""

    kind: Literal["message"] = "message"
    text: Text
    attachments: tuple[Attachment, ...] = ()


class _Spoken(Entry):
    participant: str
    role: str | None
    label: str = Field(description="how the others see the participant")
    provider: str
    model: str
    step: str
    purpose: str
    images_left_out: int = Field(
        default=0, description="images that a note stood for, because the model takes none"
    )
    superseded_by: int | None = Field(
        default=None, description="position of the newer answer to the same question"
    )


class _Answered(_Spoken):
    text: Text
    reasoning: Text | None
    usage: Usage
    cost: Cost | None
    finish_reason: str
    served_model: str | None
    first_token_ms: float | None
    duration_ms: float


class AnswerEntry(_Answered):
    """A public answer. A retry's answer stands behind the one that it replaces."""

    kind: Literal["answer"] = "answer"


class InterimEntry(_Answered):
    """What a participant says on the way: while it calls tools, or to a workflow (`purpose`)."""

    kind: Literal["interim"] = "interim"


class CallEntry(Entry):
    """A call of a tool, where its outcome stands; what there is besides depends on that.

    `participant` is None where the session's script called, and `server` where there is no such
    tool. `approval` is whether a person was asked.
    """

    kind: Literal["call"] = "call"
    step: str
    participant: str | None
    name: str
    server: str | None
    tool: str | None
    arguments: Text
    approval: bool
    outcome: Literal["returned", "failed", "refused", "denied", "cancelled"]
    text: Text | None = None
    structured: Text | None = None
    attachments: tuple[Attachment, ...] = ()
    is_error: bool = False
    error: str | None = None
    reason: str | None = None
    duration_ms: float | None = None


class OutputEntry(Entry):
    """What a workflow gave at its end."""

    kind: Literal["output"] = "output"
    text: Text
    duration_ms: float


class FailureEntry(_Spoken):
    """A step, public or not, that failed; `partial` is what was said by then."""

    kind: Literal["failure"] = "failure"
    error: str
    message: str
    retryable: bool
    partial: Text | None


class DecisionEntry(Entry):
    """Who was to answer, a ballot, or the count; `type` is the event's type."""

    kind: Literal["decision"] = "decision"
    type: DecisionType
    data: Decision


class EndEntry(Entry):
    """A turn, open or queued, that ended without being completed."""

    kind: Literal["end"] = "end"
    problem: TurnProblem


AnyEntry = Annotated[
    MessageEntry
    | AnswerEntry
    | InterimEntry
    | CallEntry
    | OutputEntry
    | FailureEntry
    | DecisionEntry
    | EndEntry,
    Field(discriminator="kind"),
]


class Transcript(Value):
    """Entries of a session, in the order of the conversation, as of `position` of its stream.

    `next` is what to ask for as `after` to get the entries that follow, None at the end.
    """

    session: str
    position: int
    entries: tuple[AnyEntry, ...]
    next: int | None


_ENTRIES: TypeAdapter[tuple[AnyEntry, ...]] = TypeAdapter(tuple[AnyEntry, ...])


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
