"""How a turn ends, from what its router returned or raised."""

from __future__ import annotations

from typing import Any

from actors.routing import valid
from actors.routing.asking import Texts
from actors.routing.faults import LONGEST, describe
from actors.routing.spending import explained
from actors.routing.steps import Answer, Failure, StepLimit
from events.errors import RouterFault
from events.turns import Step, Turn, text_digest
from events.types import BudgetOverrun, ModelAnswered, ModelFailed, TurnCompleted, TurnFailed


def verdict(
    turn: Turn, value: Any, fault: BaseException | None, texts: Texts
) -> TurnCompleted | TurnFailed:
    """The event that ends `turn`, whose router returned `value` or could not go on."""
    if isinstance(fault, StepLimit):
        return TurnFailed(reason="too_many_steps", message=str(fault))
    try:
        if fault is not None:
            raise fault
        return _completed(turn, value, texts)
    except BaseException as error:
        return TurnFailed(reason="router_fault", message=describe(error))


def _completed(turn: Turn, value: Any, texts: Texts) -> TurnCompleted | TurnFailed:
    if isinstance(value, Answer):
        if _given(turn, value.step, value.text):
            return TurnCompleted(answer_from=value.step)
        text = valid.text(value.text, "the text of an answer")
        return TurnCompleted(answer=texts.spill(text))  # the router's own words
    if isinstance(value, str):
        return TurnCompleted(answer=texts.spill(str(valid.text(value, "an answer"))))
    if turn.run is not None and isinstance(value, Failure):
        return TurnFailed(reason="run_failed", message=value.message)
    if value is not None and not isinstance(value, Failure):
        raise RouterFault(
            f"the router returned {type(value).__name__}: return an Answer, a str or None"
        )
    if turn.somebody_answered:
        return TurnCompleted()
    return TurnFailed(reason="nobody_answered", message=_why_nobody(turn))


def _given(turn: Turn, key: Any, text: Any) -> bool:
    """Whether `text` is what step `key` was answered, word for word."""
    step = turn.steps.get(key)
    said = step.outcome if step is not None else None
    return (
        isinstance(said, ModelAnswered)
        and isinstance(text, str)
        and text_digest(said.text) == text_digest(text)
    )


def _why_nobody(turn: Turn) -> str:
    reasons = {
        f"{who}: {_why_not(step)}"
        for step in turn.steps.values()
        if (who := _whom(step)) and not isinstance(step.outcome, ModelAnswered)
    }
    return f"nobody answered: {'; '.join(sorted(reasons)) or 'nobody was asked'}"[:LONGEST]


def _whom(step: Step) -> str | None:
    """The participant that the step was for; None where it was for none."""
    if isinstance(step.outcome, BudgetOverrun):
        return step.outcome.participant
    return step.asked.participant if step.asked else None


def _why_not(step: Step) -> str:
    if isinstance(step.outcome, BudgetOverrun):
        return explained(step.outcome)
    if isinstance(step.outcome, ModelFailed):
        return step.outcome.message
    return "the call was cancelled"
