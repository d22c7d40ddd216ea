"""A turn as a session keeps it: its steps, their outcomes, its timers, and what was said."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Literal

from events.budgets import BudgetOverrun, BudgetRefused, BudgetRequested, BudgetReserved
from events.config import SessionConfig
from events.run_state import RunState
from events.runs import RunCancelled, RunCompleted, RunFailed, RunStarted
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
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
from events.values import Attachment, Blob, Message, Text, ToolCall

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
    | RunCompleted
    | RunFailed
    | RunCancelled
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


def asks_for_tools(calls: tuple[ToolCall, ...], client: tuple[str, ...]) -> bool:
    """Whether the room carries out the calls of an answer, and asks again.

    Where one is of a tool that the `client` calls itself, the answer goes to it as it is.
    """
    return bool(calls) and not any(call.name in client for call in calls)


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
    called: ToolCalled | None = None
    wanted: ApprovalRequested | None = None
    """The call that a person is to allow."""
    granted: bool = False
    run: RunStarted | None = None
    """The run of a workflow that the step is."""
    elicited: dict[str, ElicitationRequested] = field(default_factory=dict)
    """What the tool has asked the person, by its id; `answered` holds what they said."""
    answered: dict[str, ElicitationAnswered] = field(default_factory=dict)

    @property
    def answer(self) -> ModelAnswered | None:
        """The answer to the question; None also where it only asks for calls of tools."""
        if self.asked is None or not isinstance(self.outcome, ModelAnswered):
            return None
        return None if is_interim(self.asked, self.outcome) else self.outcome

    @property
    def questions(self) -> tuple[str, ...]:
        """Ids of what the person is asked by it, and has not answered; "" is an approval."""
        if self.outcome is not None:
            return ()
        open = [id for id in self.elicited if id not in self.answered]
        return ("", *open) if self.wanted is not None and not self.granted else tuple(open)


def is_interim(asked: ModelAsked, answer: ModelAnswered) -> bool:
    """Whether the answer asks for calls of tools that the room carries out before it asks again.

    It is not said in the conversation.
    """
    offered = asked.tools is not None and asked.tool_choice != "none"
    return offered and asks_for_tools(answer.tool_calls, asked.client_tools)


@dataclass(slots=True)
class Timer:
    """A running timer: its length, and the seconds spent before `armed_at` (without pauses)."""

    seconds: float
    armed_at: datetime | None
    spent: float = 0.0

    def stop(self, at: datetime) -> None:
        """Let it stand still."""
        self.spent = self.seconds - self.remaining(at)
        self.armed_at = None

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
    asking: set[str] = field(default_factory=set)
    """Keys of the steps that wait for a person."""
    end: TurnCompleted | TurnFailed | TurnCancelled | None = None
    ended_at: int | None = None
    discarded_at: int | None = None
    """Where an outcome of its calls was discarded last, mostly after its end."""
    run: RunState | None = None
    """The run that it is, where its session runs a workflow."""

    @property
    def somebody_answered(self) -> bool:
        """Whether there is a public answer."""
        return any(
            step.asked and step.asked.public and step.answer is not None
            for step in self.steps.values()
        )

    def last_ask(self, participant: str) -> Step | None:
        """The participant's last public step that was answered, or else its last public one.

        Of steps that continue one another, it is the first.
        """
        steps = [
            step
            for step in self.steps.values()
            if step.asked and step.asked.participant == participant and step.asked.public
        ]
        answered = [step for step in steps if step.answer is not None]
        chosen = answered or steps
        return self.first_of(chosen[-1]) if chosen else None

    def first_of(self, step: Step) -> Step:
        """The step that `step` goes back to, by way of those that it continues."""
        while step.asked is not None and step.asked.continues is not None:
            step = self.steps[step.asked.continues]
        return step

    def calls_of(self, key: str) -> list[Step]:
        """The steps that carry out the calls in the answer of step `key`, in its order."""
        return [step for step in self.steps.values() if step.use and step.use.asked_in == key]

    def next_key(self, kind: str, target: str) -> str:
        """The key of the next step of that kind and target."""
        pair = f"{kind}:{target}"
        return f"{pair}:{1 + sum(key.rpartition(':')[0] == pair for key in self.steps)}"

    @property
    def asks_person(self) -> bool:
        """Whether a person is asked something, so that the deadline stands still."""
        return bool(self.asking)
