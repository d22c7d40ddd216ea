"""What a turn has led to so far: its status, its answer, everyone's answers and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

from pydantic import Field

from actors.deciding import NotFound
from events.config import SessionConfig
from events.envelope import Event
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
)
from events.turns import TurnStatus, is_interim
from events.types import (
    Decision,
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
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
from events.values import Blob, Cost, Text, Usage, Value

Load = Callable[[Blob], str]
"""Reads a long text by its reference."""

DecisionType = Literal["route.decided", "vote.cast", "votes.tallied"]


class AnswerView(Value):
    """A participant's last public answer of a turn. Durations are in milliseconds."""

    participant: str
    role: str | None
    model: str
    provider: str
    step: str
    purpose: str
    text: str
    reasoning: str | None
    usage: Usage
    cost: Cost | None
    finish_reason: str
    served_model: str | None
    first_token_ms: float | None
    duration_ms: float


class FailureView(Value):
    """A step that failed, public or not: the error's class name and what to do about it."""

    participant: str
    step: str
    purpose: str
    error: str
    message: str
    retryable: bool


class DiscardedView(Value):
    """An outcome that does not count, and what it used and cost all the same, where that is known.

    That of a call that was called off is known some time after the end of its turn.
    """

    participant: str
    step: str
    attempt: int
    reason: Literal["cancelled", "duplicate", "broken_off"]
    usage: Usage | None
    cost: Cost | None


CallStatus = Literal["waits", "called", "returned", "failed", "refused", "denied", "cancelled"]


class CallView(Value):
    """A call of a tool, and how far it has come; `waits` is for a person to allow it.

    `participant` is None where the session's script calls. `message` says why it came to nothing.
    """

    step: str
    participant: str | None
    name: str
    status: CallStatus
    is_error: bool = Field(default=False, description="the tool itself says that it could not")
    message: str | None = None
    duration_ms: float | None = None


class DecisionView(Value):
    """A decision of the router; `type` is its event type."""

    position: int
    type: DecisionType
    data: Decision


class TurnProblem(Value):
    """Why a turn ended without being completed."""

    reason: Literal[
        "nobody_answered", "deadline", "too_many_steps", "router_fault", "run_failed", "cancelled"
    ]
    message: str


class TurnView(Value):
    """A turn as of `position` of its session.

    `answer` is what the router returned; `answers` holds each participant's last public answer, in
    the order of the session's participants.
    """

    turn: str
    status: TurnStatus
    position: int = Field(description="of the last event that was looked at")
    answer: str | None = None
    answers: tuple[AnswerView, ...] = ()
    failures: tuple[FailureView, ...] = ()
    discarded: tuple[DiscardedView, ...] = ()
    calls: tuple[CallView, ...] = ()
    problem: TurnProblem | None = None
    decisions: tuple[DecisionView, ...] = ()


def turn_view(
    events: Sequence[Event], turn: str, load: Load, config: SessionConfig | None = None
) -> TurnView:
    """The view of `turn` after `events`: the whole session, or the events from the turn's first on.

    `config` is the session's where `events` begin after it. `load` is called for long texts only.
    Raises `NotFound` where the events hold no such turn.
    """
    fold = _Fold(turn, config)
    for event in events:
        fold.apply(event)
    if fold.status is None:
        raise NotFound(f"the session has no turn {turn!r}")
    return TurnView(
        turn=turn,
        status=fold.status,
        position=events[-1].position,
        answer=fold.answer(load),
        answers=tuple(fold.answers(load)),
        failures=tuple(fold.failures()),
        discarded=tuple(fold.discarded),
        calls=tuple(fold.calls.values()),
        problem=fold.problem,
        decisions=tuple(fold.decisions),
    )


class _Fold:
    """One turn, picked out of a session's events."""

    def __init__(self, turn: str, config: SessionConfig | None) -> None:
        self._turn = turn
        self._config = config
        self._asked: dict[str, ModelAsked] = {}
        self._outcomes: dict[str, ModelAnswered | ModelFailed] = {}
        self._completed: TurnCompleted | None = None
        self.status: TurnStatus | None = None
        self.problem: TurnProblem | None = None
        self.decisions: list[DecisionView] = []
        self.discarded: list[DiscardedView] = []
        self.calls: dict[str, CallView] = {}

    def apply(self, event: Event) -> None:
        match event.data:
            case SessionCreated(config=config) | SessionReconfigured(config=config):
                # A turn keeps the configuration that it was started with.
                if self.status in (None, "queued"):
                    self._config = config
            case _ if event.turn == self._turn:
                self._own(event)
            case _:
                pass

    def _own(self, event: Event) -> None:
        key = event.step or ""
        match event.data:
            case TurnQueued():
                self.status = "queued"
            case TurnStarted():
                self.status = "open"
            case ModelAsked() as asked:
                self._asked[key] = asked
            case ModelAnswered() | ModelFailed() as outcome if key in self._asked:
                self._outcomes[key] = outcome
            case ModelDiscarded() as data if key in self._asked:
                self._discard(key, data)
            case RouteDecided() | VoteCast() | VotesTallied() as data:
                kind = cast("DecisionType", data.type)
                self.decisions.append(DecisionView(position=event.position, type=kind, data=data))
            case ToolCalled() | ToolRefused() | ApprovalRequested() as data:
                self.calls[key] = _call(key, data)
            case _ if key in self.calls:
                self.calls[key] = self.calls[key].model_copy(update=_became(event.data))
            case TurnCompleted() as end:
                self.status, self._completed = "completed", end
            case TurnFailed(reason=reason, message=message):
                self.status = "failed"
                self.problem = TurnProblem(reason=reason, message=message)
            case TurnCancelled(reason=message):
                self.status = "cancelled"
                self.problem = TurnProblem(reason="cancelled", message=message)
            case _:
                pass

    def _discard(self, key: str, data: ModelDiscarded) -> None:
        self.discarded.append(
            DiscardedView(
                participant=self._asked[key].participant,
                step=key,
                attempt=data.attempt,
                reason=data.reason,
                usage=data.usage,
                cost=data.cost,
            )
        )

    def answer(self, load: Load) -> str | None:
        """What the router returned, as text."""
        end = self._completed
        if end is None:
            return None
        if end.answer_from is None:
            return None if end.answer is None else _read(end.answer, load)
        source = self._outcomes.get(end.answer_from)
        return _read(source.text, load) if isinstance(source, ModelAnswered) else None

    def answers(self, load: Load) -> Iterable[AnswerView]:
        """Each participant's last public answer, in the session's order."""
        last: dict[str, str] = {}
        for key, outcome in self._outcomes.items():
            asked = self._asked[key]
            final = isinstance(outcome, ModelAnswered) and not is_interim(asked, outcome)
            if asked.public and final:
                last[asked.participant] = key
        seats = [model.id for model in self._config.models] if self._config else []
        order = {participant: index for index, participant in enumerate(seats)}
        for participant in sorted(last, key=lambda name: order.get(name, len(order))):
            yield self._answer(last[participant], load)

    def _answer(self, key: str, load: Load) -> AnswerView:
        asked, outcome = self._asked[key], self._outcomes[key]
        assert isinstance(outcome, ModelAnswered)
        seat = self._config.participant(asked.participant) if self._config else None
        return AnswerView(
            participant=asked.participant,
            role=seat.role if seat else None,
            model=asked.model,
            provider=asked.provider,
            step=key,
            purpose=asked.purpose,
            text=_read(outcome.text, load),
            reasoning=None if outcome.reasoning is None else _read(outcome.reasoning, load),
            usage=outcome.usage,
            cost=outcome.cost,
            finish_reason=outcome.finish_reason,
            served_model=outcome.served_model,
            first_token_ms=outcome.first_token_ms,
            duration_ms=outcome.duration_ms,
        )

    def failures(self) -> Iterable[FailureView]:
        """Every failed step, in the order in which they failed."""
        for key, outcome in self._outcomes.items():
            if isinstance(outcome, ModelFailed):
                asked = self._asked[key]
                yield FailureView(
                    participant=asked.participant,
                    step=key,
                    purpose=asked.purpose,
                    error=outcome.error,
                    message=outcome.message,
                    retryable=outcome.retryable,
                )


def _call(key: str, data: ToolCalled | ToolRefused | ApprovalRequested) -> CallView:
    status: CallStatus = "called"
    if isinstance(data, ApprovalRequested):
        status = "waits"
    elif isinstance(data, ToolRefused):
        status = "refused"
    return CallView(
        step=key,
        participant=data.use.participant,
        name=data.use.name,
        status=status,
        message=data.reason if isinstance(data, ToolRefused) else None,
    )


def _became(data: Payload) -> dict[str, Any]:
    """What an event says of a call."""
    match data:
        case ToolReturned(is_error=is_error, duration_ms=duration):
            return {"status": "returned", "is_error": is_error, "duration_ms": duration}
        case ToolFailed(message=message, duration_ms=duration):
            return {"status": "failed", "message": message, "duration_ms": duration}
        case ApprovalDenied(reason=reason):
            return {"status": "denied", "message": reason or None}
        case ToolCancelled():
            return {"status": "cancelled"}
        case _:
            return {}


def _read(text: Text, load: Load) -> str:
    return load(text) if isinstance(text, Blob) else text
