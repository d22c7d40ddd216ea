"""A turn as a session keeps it: its steps, their outcomes, its timers, and what was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Literal

from events.budgets import BudgetOverrun, BudgetRefused, BudgetRequested, BudgetReserved
from events.config import SessionConfig
from events.tools import (
    ApprovalDenied,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.types import (
    ChanceDrawn,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    TimerFired,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from events.values import Attachment, Blob, Message, Text

DEADLINE = "deadline"
"""Step key of the timer that limits a whole turn."""

ToolOutcome = ToolReturned | ToolFailed | ToolRefused | ToolCancelled | ApprovalDenied
"""What ends the call of a tool."""

Outcome = (
    ModelAnswered
    | ModelFailed
    | ModelCancelled
    | BudgetOverrun
    | TimerFired
    | ChanceDrawn
    | ToolOutcome
)
"""What ends a step."""

TurnStatus = Literal["queued", "open", "completed", "failed", "cancelled"]


def text_digest(text: Text) -> str:
    """SHA-256 of a text's UTF-8, the same whether it is inline or a blob."""
    if isinstance(text, Blob):
        return text.sha256
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def text_size(text: Text) -> int:
    """Length of a text in UTF-8 bytes."""
    return text.size if isinstance(text, Blob) else len(text.encode("utf-8", "surrogatepass"))


FRAME = 64
"""Bytes, at most, of what stands around the name and the text of an attachment."""


def shown_size(attachments: tuple[Attachment, ...]) -> int:
    """Bytes of text, at most, that a model is shown of the attachments, their names included."""
    return sum(
        FRAME + 2 * len(one.name.encode()) + (0 if one.is_image else one.size)
        for one in attachments
    )


@dataclass(slots=True)
class Entry:
    """One utterance of the conversation.

    `participant` is None for the person, `size` is in bytes, with the texts attached. A newer
    answer to the same question stands at the place of the older, which is hidden from
    `superseded_at` on. Where a client brought a whole conversation, that is `given`: it is shown in
    place of the content, and the pictures in it are the attachments.
    """

    position: int
    turn: str
    step: str | None
    participant: str | None
    label: str
    content: Text
    digest: str
    size: int
    superseded_at: int | None = None
    attachments: tuple[Attachment, ...] = ()
    given: Blob | None = None

    @property
    def beside(self) -> bool:
        """Whether a text of it lies beside the store."""
        attached = any(not one.is_image for one in self.attachments)
        return attached or isinstance(self.content, Blob) or self.given is not None

    @property
    def images(self) -> int:
        """How many pictures belong to it."""
        return sum(one.is_image for one in self.attachments)


@dataclass(slots=True)
class Step:
    """A step of a turn, and its outcome once there is one."""

    key: str
    position: int
    asked: ModelAsked | None = None
    use: ToolUse | None = None
    """The call of a tool that the step is: made, refused, or waiting for approval."""
    requested: BudgetRequested | None = None
    reservation: BudgetReserved | BudgetRefused | None = None
    attempt: int = 1
    paid: dict[int, Decimal] = field(default_factory=dict)
    """What each attempt has cost that was heard of, in US dollars."""
    outcome: Outcome | None = None
    outcome_position: int | None = None


@dataclass(slots=True)
class Timer:
    """A running timer: its length, and the seconds spent before `armed_at` (without pauses)."""

    seconds: float
    armed_at: datetime | None
    spent: float = 0.0

    def remaining(self, at: datetime) -> float:
        """Seconds left at `at`; never negative."""
        running = (at - self.armed_at).total_seconds() if self.armed_at else 0.0
        return max(0.0, self.seconds - self.spent - max(0.0, running))


@dataclass(slots=True)
class Turn:
    """A turn, queued, open or ended."""

    id: str
    status: TurnStatus
    message: Message | None
    by: str = ""
    """Whoever posted it, and pays for it."""
    config: SessionConfig | None = None
    queued_at: int | None = None
    started_at: int | None = None
    started: TurnStarted | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    timers: dict[str, Timer] = field(default_factory=dict)
    end: TurnCompleted | TurnFailed | TurnCancelled | None = None
    ended_at: int | None = None
    discarded_at: int | None = None
    """Where an outcome of its calls was discarded last, mostly after its end."""

    @property
    def somebody_answered(self) -> bool:
        """Whether there is a public answer."""
        return any(
            step.asked and step.asked.public and isinstance(step.outcome, ModelAnswered)
            for step in self.steps.values()
        )

    def last_ask(self, participant: str) -> Step | None:
        """The participant's last public step that was answered, or else its last public one."""
        steps = [
            step
            for step in self.steps.values()
            if step.asked and step.asked.participant == participant and step.asked.public
        ]
        answered = [step for step in steps if isinstance(step.outcome, ModelAnswered)]
        chosen = answered or steps
        return chosen[-1] if chosen else None
