"""Every event that can happen, by its type name.

Each is declared **input** (a command, an outcome, a fact, a timer) or **derived** (what the session
machine made of the inputs). Replay copies the inputs, makes every derived event again, and
compares. A type name and version never change their meaning: another meaning is a new version with
an upcast from the old one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic import Field

from events.budgets import BudgetOverrun as BudgetOverrun
from events.budgets import BudgetRefused as BudgetRefused
from events.budgets import BudgetRequested as BudgetRequested
from events.budgets import BudgetReserved as BudgetReserved
from events.budgets import BudgetSettled as BudgetSettled
from events.budgets import BudgetWarned as BudgetWarned
from events.config import SessionConfig
from events.payload import Derived as Derived
from events.payload import Input as Input
from events.payload import Payload as Payload
from events.presets import PRESET_PAYLOADS
from events.runs import RUN_PAYLOADS
from events.tools import TOOL_PAYLOADS
from events.tools import ApprovalDenied as ApprovalDenied
from events.tools import ToolFailed as ToolFailed
from events.tools import ToolReturned as ToolReturned
from events.values import (
    Blob,
    ContextRule,
    Cost,
    Digest,
    Id,
    Message,
    Parameters,
    Semantics,
    Text,
    ToolCall,
    Usage,
    Value,
)

# --- session -------------------------------------------------------------------------------------


class SessionCreated(Input):
    """A session began; holds its whole configuration."""

    type: ClassVar[str] = "session.created"
    config: SessionConfig


class SessionReconfigured(Input):
    """The whole new configuration; it takes effect with the next turn."""

    type: ClassVar[str] = "session.reconfigured"
    config: SessionConfig


class SessionPaused(Input):
    """Calls in flight finish and are recorded; no new step is issued until resumed."""

    type: ClassVar[str] = "session.paused"


class SessionResumed(Input):
    """Outcomes recorded while paused are fed to the router now, in their order."""

    type: ClassVar[str] = "session.resumed"


class SessionClosed(Input):
    """The session takes no further turn."""

    type: ClassVar[str] = "session.closed"


# --- turn ----------------------------------------------------------------------------------------


class Retry(Value):
    """Names the answer that a turn asks for again."""

    turn: Id
    participant: Id


class TurnQueued(Input):
    """A message waits behind the open turn."""

    type: ClassVar[str] = "turn.queued"
    message: Message


class TurnStarted(Input):
    """A turn began.

    `message` is None where the turn was queued before (its `turn.queued` has it) or is a retry.
    `facts` is the JSON of what the turn depends on and the log does not hold otherwise.
    """

    type: ClassVar[str] = "turn.started"
    message: Message | None = None
    retry: Retry | None = None
    facts: Blob
    semantics: Semantics


class TurnCompleted(Derived):
    """The router returned.

    The turn's answer is the text of step `answer_from`, or `answer` where the router made a text of
    its own, or none.
    """

    type: ClassVar[str] = "turn.completed"
    answer_from: str | None = None
    answer: Text | None = None


class TurnFailed(Derived):
    """The turn ended without an answer; the message says why and what to do."""

    type: ClassVar[str] = "turn.failed"
    reason: Literal["nobody_answered", "deadline", "too_many_steps", "router_fault", "run_failed"]
    message: str


class TurnCancelled(Input):
    """The turn, open or queued, was called off."""

    type: ClassVar[str] = "turn.cancelled"
    reason: str = ""


class TimerSet(Derived):
    """The turn wants to be woken after so many seconds (`deadline` is the turn's own limit)."""

    type: ClassVar[str] = "timer.set"
    seconds: float


class TimerFired(Input):
    """The timer of that step key ran out."""

    type: ClassVar[str] = "timer.fired"


class ChanceDrawn(Input):
    """A router asked for chance; `value` is uniform in [0, 2**53)."""

    type: ClassVar[str] = "chance.drawn"
    value: int = Field(ge=0, lt=2**53)


# --- model ---------------------------------------------------------------------------------------


class ModelAsked(Derived):
    """A participant is asked; everything that the request consists of can be rebuilt from it.

    `digest` is the SHA-256 of the canonical request. `public` answers become part of the
    conversation; others (plans, ballots) do not.
    """

    type: ClassVar[str] = "model.asked"
    participant: Id
    provider: str
    model: str
    purpose: str
    public: bool = True
    context: ContextRule
    instruction: Text | None = None
    parameters: Parameters
    digest: Digest
    fallback: int = Field(default=0, ge=0, description="which of the fallbacks; 0: its own model")
    instead_of: str | None = Field(default=None, description="the step that failed before this one")
    reserved: Decimal | None = Field(
        default=None, description="the most that the call can cost, in US dollars, under a budget"
    )
    images_left_out: int = Field(
        default=0, ge=0, description="images that a note stands for: the model takes none"
    )
    tools: Blob | None = Field(
        default=None, description="the offered tools: a JSON list of name, description, parameters"
    )
    tool_choice: Literal["none", "required"] | None = Field(
        default=None,
        description="none: the tools are known, and shall not be called any more; required: one of"
        " them shall be called",
    )
    continues: str | None = Field(
        default=None, description="the step whose calls of tools were answered before this one"
    )
    given: Blob | None = Field(
        default=None, description="a JSON list of messages, shown in place of the conversation"
    )
    result_limit: int | None = Field(
        default=None, ge=1, description="characters of each tool's result, where more do not fit"
    )
    client_tools: tuple[str, ...] = Field(
        default=(), description="those of the tools that whoever posted the message calls itself"
    )


class ContextTrimmed(Derived):
    """The conversation is longer than the model can read: the oldest utterances are left out.

    `estimated` is what all of it would have taken, `limit` what there was room for, in tokens.
    """

    type: ClassVar[str] = "context.trimmed"
    participant: Id
    rule: str
    skipped: int = Field(ge=1, description="utterances left out")
    estimated: int
    limit: int


class ModelReasked(Input):
    """Nothing was heard of the call, so it was sent again as `attempt`."""

    type: ClassVar[str] = "model.reasked"
    attempt: int = Field(ge=2)
    reason: str


class ModelCancelled(Derived):
    """The call is not wanted any more. What it had cost by then follows as `model.discarded`."""

    type: ClassVar[str] = "model.cancelled"
    reason: Literal["race_lost", "turn_ended"]


class ModelAnswered(Input):
    """A model's whole answer.

    Durations are in milliseconds. `rhythm` is flat pairs of (milliseconds since the first piece,
    characters of text), at most 512 pairs, so that a replay can stream at the original speed.
    `carried` is the provider's own JSON that it wants back with the calls of tools, such as signed
    thinking.
    """

    type: ClassVar[str] = "model.answered"
    attempt: int = Field(ge=1)
    text: Text
    reasoning: Text | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    carried: Text | None = None
    finish_reason: str
    usage: Usage
    usage_raw: dict[str, Any] | None = None
    cost: Cost | None = None
    served_model: str | None = None
    first_token_ms: float | None = None
    duration_ms: float
    rhythm: tuple[int, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="what the provider ignored or changed")


class ModelFailed(Input):
    """A model did not answer: the error's class name and what to do about it."""

    type: ClassVar[str] = "model.failed"
    attempt: int = Field(ge=1)
    error: str
    message: str
    retryable: bool
    tries: int = Field(ge=1, description="how often the actor asked the provider")
    partial: Text | None = None
    usage: Usage | None = None
    cost: Cost | None = None
    unheard: bool = Field(
        default=False, description="nothing was heard of the call: it may have been paid for"
    )
    accepted: bool = Field(
        default=False, description="the server may have worked on it; usage and cost are estimates"
    )
    duration_ms: float | None = Field(
        default=None, description="of the last try at the provider; None where it was not asked"
    )


class ModelDiscarded(Input):
    """An outcome that does not count: another did, nobody wanted it, or it is asked for again."""

    type: ClassVar[str] = "model.discarded"
    attempt: int = Field(ge=1)
    reason: Literal["cancelled", "duplicate", "broken_off"]
    partial: Text | None = None
    usage: Usage | None = None
    cost: Cost | None = None
    duration_ms: float | None = Field(
        default=None, description="of the last try at the provider; None where it was not asked"
    )


# --- routing -------------------------------------------------------------------------------------


class RouteDecided(Derived):
    """Who is to answer, and why; `fallback` names the rule where a plan could not be used."""

    type: ClassVar[str] = "route.decided"
    participants: tuple[Id, ...]
    reason: str
    fallback: str | None = None


class VoteCast(Derived):
    """A ballot; `choice` is None for an abstention, whose reason is given."""

    type: ClassVar[str] = "vote.cast"
    voter: Id
    choice: Id | None
    reason: str


class Tally(Value):
    """Votes of one candidate."""

    participant: Id
    votes: int = Field(ge=0)


class VotesTallied(Derived):
    """The count, the winner, and the rule that broke a tie."""

    type: ClassVar[str] = "votes.tallied"
    tallies: tuple[Tally, ...]
    winner: Id
    tie_broken_by: str | None = None


PAYLOADS: tuple[type[Payload], ...] = (
    SessionCreated,
    SessionReconfigured,
    SessionPaused,
    SessionResumed,
    SessionClosed,
    TurnQueued,
    TurnStarted,
    TurnCompleted,
    TurnFailed,
    TurnCancelled,
    TimerSet,
    TimerFired,
    ChanceDrawn,
    ModelAsked,
    ContextTrimmed,
    ModelReasked,
    ModelCancelled,
    ModelAnswered,
    ModelFailed,
    ModelDiscarded,
    BudgetWarned,
    BudgetRequested,
    BudgetReserved,
    BudgetRefused,
    BudgetSettled,
    BudgetOverrun,
    RouteDecided,
    VoteCast,
    VotesTallied,
    *TOOL_PAYLOADS,
    *RUN_PAYLOADS,
    *PRESET_PAYLOADS,
)
"""The closed registry: a stored type that is not here raises `UnknownEvent`."""

OUTCOMES = (
    ModelAnswered,
    ModelFailed,
    TimerFired,
    ChanceDrawn,
    ToolReturned,
    ToolFailed,
    ApprovalDenied,
)
"""Inputs that end a step."""

TURN_ENDS = (TurnCompleted, TurnFailed, TurnCancelled)
"""Events after which a turn is over."""

Decision = RouteDecided | VoteCast | VotesTallied
"""What a router may record besides its steps."""
