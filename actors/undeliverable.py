"""What is told of a call whose outcome cannot be sent: that it failed, and what it has cost."""

from __future__ import annotations

from typing import Any

from actors.messages import Outcome
from events.errors import BadResponse, BadResult
from events.runs import RunFailed
from events.tools import ToolFailed
from events.types import ModelAnswered, ModelFailed

LONGEST = 500
"""Characters that are kept of the message of a failure which is itself too long."""


def failure(outcome: Outcome, why: str) -> Outcome:
    """The failure that is sent in place of an outcome; it is not worth another try."""
    number = outcome.attempt
    update: dict[str, Any]
    if (paid := outcome.answered or outcome.failed) is not None:
        # What was answered was one try, and must have been worked on.
        told, tries, accepted = why, 1, True
        if not isinstance(paid, ModelAnswered):
            told, tries, accepted = f"{why}: {paid.message[:LONGEST]}", paid.tries, paid.accepted
        update = {
            "failed": ModelFailed(
                attempt=number,
                error=BadResponse.__name__,
                message=told,
                retryable=False,
                tries=tries,
                usage=paid.usage,
                cost=paid.cost,
                accepted=accepted,
                duration_ms=paid.duration_ms,
            )
        }
    elif outcome.discarded is not None:
        update = {"discarded": outcome.discarded.model_copy(update={"partial": None})}
    elif (done := outcome.returned or outcome.tool_failed) is not None:
        told = why if outcome.returned is None else f"the tool was called, but {why}"
        update = {
            "tool_failed": ToolFailed(
                attempt=number,
                error=BadResult.__name__,
                message=told,
                retryable=False,
                duration_ms=done.duration_ms,
            )
        }
    else:
        update = {
            "run_failed": RunFailed(
                attempt=number, error="WorkflowFailed", message=why, retryable=False
            )
        }
    return Outcome(
        session=outcome.session, turn=outcome.turn, step=outcome.step, attempt=number, **update
    )
