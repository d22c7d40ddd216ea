"""From what becomes of a tool's call to the input that it is: pure decisions.

A call is made at most once. One of which nothing is heard has failed, and whoever wanted it is told
that it may have been carried out.
"""

from __future__ import annotations

from actors.awaited import awaited, by_router
from actors.deciding import Decision
from actors.forms import MOST_QUESTIONS
from actors.messages import Outcome
from actors.routing.batch import Given
from events.errors import ControlRoomError, ToolLost
from events.session import Session
from events.tools import ElicitationRequested, ToolFailed, ToolReturned
from events.turns import Step, Turn


def receive(session: Session, outcome: Outcome, turn: Turn, step: Step) -> Decision:
    """What an outcome becomes: counted (state `open`), or dropped because it comes too late.

    What a tool asks the person counts once, however often it comes; it is dropped while another
    question of the call is open, and where the call has asked as many as it may.
    """
    waiting = session.open is turn and step.outcome is None and outcome.attempt == step.attempt
    counted = Decision(turn=turn.id, state="open")
    question, result = outcome.elicited, outcome.returned or outcome.tool_failed
    if question is not None:
        if not waiting or question.id in step.elicited:
            return counted if waiting else Decision()
        if step.questions or len(step.elicited) >= MOST_QUESTIONS:
            return Decision()
        return Decision((_given(step, turn.id, question),), turn.id, "open")
    if result is None or not waiting:
        return counted if result is not None and step.outcome == result else Decision()
    return Decision((_given(step, turn.id, result),), turn.id, "open")


def lost(session: Session, *, key: tuple[str, str, str], attempt: int) -> Decision:
    """Nothing is heard of the call."""
    step = awaited(session, key, attempt)
    if step is None or step.called is None:
        return Decision()
    error = ToolLost(
        f"nothing was heard of the call of tool server {step.called.server!r}: it may have been"
        " carried out"
    )
    return failed(step, key=key, error=error, unheard=True)


def failed(
    step: Step, *, key: tuple[str, str, str], error: ControlRoomError, unheard: bool = False
) -> Decision:
    """The call cannot be made at all, or (`unheard`) not be waited for any longer."""
    data = ToolFailed(
        attempt=step.attempt,
        error=type(error).__name__,
        message=error.message,
        retryable=error.retryable,
        unheard=unheard,
    )
    return Decision((by_router(data, key[1], step),))


def _given(step: Step, turn: str, data: ToolReturned | ToolFailed | ElicitationRequested) -> Given:
    assert step.called
    by = f"tool:{step.called.server}"
    return Given(data, by, turn=turn, step=step.key, cause=step.position)
