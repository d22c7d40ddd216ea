"""How the events of a tool's call change the step that it is."""

from __future__ import annotations

from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
)
from events.turns import Step, Turn

ToolEvent = (
    ToolCalled
    | ToolRefused
    | ToolCancelled
    | ToolReturned
    | ToolFailed
    | ApprovalRequested
    | ApprovalGranted
    | ApprovalDenied
    | ElicitationRequested
    | ElicitationAnswered
)


def fold(turn: Turn, key: str, position: int, data: ToolEvent) -> None:
    """Fold what happened at `position` to the call that step `key` of the turn is."""
    step = turn.steps.setdefault(key, Step(key, position))
    match data:
        case ToolCalled():
            step.position, step.use, step.called = position, data.use, data
        case ApprovalRequested():
            step.use, step.wanted = data.use, data
        case ApprovalGranted():
            step.granted = True
        case ElicitationRequested():
            step.elicited[data.id] = data
        case ElicitationAnswered():
            step.answered[data.id] = data
        case ToolRefused() | ToolCancelled() | ToolReturned() | ToolFailed() | ApprovalDenied():
            step.use = data.use if isinstance(data, ToolRefused) else step.use
            step.outcome, step.outcome_position = data, position
    if step.questions:
        turn.asking.add(key)
    else:
        turn.asking.discard(key)
