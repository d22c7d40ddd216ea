"""What came of a turn, as a client is told it: the whole answer, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from api.openai_door.backend import Completion, FinishReason
from api.openai_door.composing import manner_of, section
from api.openai_door.faults import DoorError
from events.config import SessionConfig
from events.envelope import Event
from events.types import (
    BudgetOverrun,
    BudgetRefused,
    ModelAnswered,
    ModelDiscarded,
    ModelFailed,
    TurnCompleted,
)
from events.values import ToolCall, Usage
from projections.answers import AnswerView, TurnView

FINISHED: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
FAILURES: dict[str, tuple[int, str]] = {
    "RateLimited": (429, "rate_limit_exceeded"),
    "BudgetExceeded": (429, "insufficient_quota"),
    "ModelNotFound": (404, "model_not_found"),
    "ContextTooLong": (400, "context_length_exceeded"),
    "ContentFiltered": (400, "content_filter"),
}
"""By the class of the error that the participants failed with; any other is a 502."""


def completion_of(
    view: TurnView,
    events: Sequence[Event],
    config: SessionConfig,
    place: dict[str, str],
    own: frozenset[str],
) -> Completion:
    """The whole answer of a turn that has ended; raises a `DoorError` where there is none.

    `events` are the turn's, `own` the names of the tools that the client calls itself.
    """
    if view.status != "completed":
        _raise(view, events)
    step, calls = _last(events, own)
    several = manner_of(config) == "all" or view.answer is None
    labels = {model.id: model.label for model in config.models}
    if several and not calls:
        text = "\n\n".join(
            section(labels.get(one.participant, one.participant), one.text) for one in view.answers
        )
    else:
        text = view.answer or ""
    finish: FinishReason = "stop" if step is None else FINISHED.get(step.finish_reason, "stop")
    spoken = view.answers[0] if len(config.models) == 1 and view.answers else None
    return Completion(
        text=text,
        finish_reason="tool_calls" if calls else finish,
        usage=sum(_used(events), Usage()),
        reasoning=spoken.reasoning if spoken else None,
        tool_calls=calls,
        answers=tuple(
            _shown(one, labels.get(one.participant, one.participant)) for one in view.answers
        ),
        place=place,
    )


def _last(
    events: Sequence[Event], own: frozenset[str]
) -> tuple[ModelAnswered | None, tuple[ToolCall, ...]]:
    """The answer that became the turn's, and the calls in it that are the client's to make."""
    answer_from = next(
        (e.data.answer_from for e in reversed(events) if isinstance(e.data, TurnCompleted)), None
    )
    for event in reversed(events):
        if isinstance(event.data, ModelAnswered) and event.step == answer_from:
            return event.data, tuple(c for c in event.data.tool_calls if c.name in own)
    return None, ()


def _used(events: Iterable[Event]) -> Iterable[Usage]:
    """What every call of the turn has used, whether its answer counted or not."""
    for event in events:
        match event.data:
            case ModelAnswered(usage=usage):
                yield usage
            case ModelFailed(usage=Usage() as usage) | ModelDiscarded(usage=Usage() as usage):
                yield usage
            case _:
                pass


def _shown(answer: AnswerView, label: str) -> dict[str, object]:
    names = {"participant", "role", "provider", "model", "text", "finish_reason", "usage", "cost"}
    return {"label": label} | answer.model_dump(mode="json", include=names)


def _raise(view: TurnView, events: Sequence[Event]) -> NoReturn:
    """Say why the turn has no answer."""
    problem = view.problem
    reason = problem.reason if problem else "router_fault"
    message = problem.message if problem else "the turn has ended without an answer"
    if reason == "cancelled":
        raise DoorError(
            409, f"the turn was cancelled: {message or 'by a person'}", code="turn_cancelled"
        )
    if reason == "deadline":
        raise DoorError(504, message, code="deadline")
    if reason != "nobody_answered":
        raise DoorError(500, message, code=reason)
    if any(isinstance(event.data, BudgetOverrun | BudgetRefused) for event in events):
        raise DoorError(429, message, code="insufficient_quota")
    why = "; ".join(dict.fromkeys(f"{one.participant}: {one.message}" for one in view.failures))
    status, code = 502, "provider_failed"
    kinds = {one.error for one in view.failures}
    if len(kinds) == 1:
        status, code = FAILURES.get(kinds.pop(), (status, code))
    raise DoorError(status, why or message, code=code)
