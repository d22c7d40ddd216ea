"""From a call's outcome, silence or failure to the input that it becomes: pure decisions."""

from __future__ import annotations

from typing import Literal

from actors import returning, running
from actors.awaited import awaited, by_router
from actors.deciding import Decision
from actors.messages import Accounted, Outcome
from actors.routing.batch import Given
from actors.routing.spending import explained, overrun
from events.errors import BudgetExceeded, ControlRoomError, ProviderUnavailable
from events.session import Session
from events.turns import Step
from events.types import (
    BudgetReserved,
    ModelAnswered,
    ModelCancelled,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
)

REASKS = 3
"""How often a call is sent again when nothing is heard of it."""


def receive(session: Session, outcome: Outcome) -> Decision:
    """What an outcome becomes: counted (state `open`), or discarded with what it had cost."""
    turn = session.turns.get(outcome.turn)
    step = turn.steps.get(outcome.step) if turn else None
    if turn is None or step is None:
        return Decision()
    if step.called is not None or step.run is not None:
        ended = returning.receive if step.run is None else running.receive
        return ended(session, outcome, turn, step)
    if step.asked is None:
        return Decision()
    if (turn.id, step.key, outcome.attempt) in session.discarded:
        return Decision()
    counted = outcome.answered or outcome.failed
    if counted is not None and session.open is turn and step.outcome is None:
        if (again := _asked_again(session, outcome, step)) is not None:
            return again
        return Decision((_given(outcome, counted, step),), turn.id, "open")
    if counted is not None and step.outcome == counted:
        return Decision(turn=turn.id, state="open")
    return Decision((_given(outcome, _discarded(outcome, step), step),))


def _given(
    outcome: Outcome,
    data: ModelAnswered | ModelFailed | ModelDiscarded,
    step: Step,
) -> Given:
    assert step.asked
    by = f"model:{step.asked.provider}/{step.asked.model}"
    return Given(data, by, turn=outcome.turn, step=step.key, cause=step.position)


def _asked_again(session: Session, outcome: Outcome, step: Step) -> Decision | None:
    """Ask again for an answer that was worked on, where its participant wants that; else None.

    Not where an account pays: what it holds is for one attempt.
    """
    failed, turn = outcome.failed, session.open
    if (
        failed is None
        or turn is None
        or session.status == "paused"
        or step.asked is None
        or turn.config is None
    ):
        return None
    participant = turn.config.participant(step.asked.participant)
    begun = failed.accepted or failed.partial is not None
    retryable = begun and failed.retryable and outcome.attempt == step.attempt
    wanted = retryable and participant is not None and participant.retry_begun
    if not wanted or step.requested is not None or outcome.attempt > REASKS:
        return None
    if _over_budget(session, step) is not None:
        return None
    broken = ModelDiscarded(
        attempt=outcome.attempt,
        reason="broken_off",
        partial=failed.partial,
        usage=failed.usage,
        cost=failed.cost,
        duration_ms=failed.duration_ms,
    )
    reason = f"the answer broke off: {failed.message}"[:1000]
    again = ModelReasked(attempt=outcome.attempt + 1, reason=reason)
    return Decision((_given(outcome, broken, step), by_router(again, turn.id, step)))


def _discarded(outcome: Outcome, step: Step) -> ModelDiscarded:
    if outcome.discarded is not None:
        return outcome.discarded
    duplicate = isinstance(step.outcome, ModelAnswered | ModelFailed)
    reason: Literal["duplicate", "cancelled"] = "duplicate" if duplicate else "cancelled"
    paid = outcome.answered or outcome.failed
    return ModelDiscarded(
        attempt=outcome.attempt,
        reason=reason,
        partial=paid.text if isinstance(paid, ModelAnswered) else paid.partial if paid else None,
        usage=paid.usage if paid else None,
        cost=paid.cost if paid else None,
        duration_ms=paid.duration_ms if paid else None,
    )


def reask(session: Session, *, key: tuple[str, str, str], attempt: int) -> Decision:
    """Nothing was heard of the call: ask again, or give up after `REASKS` times."""
    step = awaited(session, key, attempt)
    if step is None or session.status == "paused":  # which sends nothing new
        return Decision()
    if attempt > REASKS:
        silent = ProviderUnavailable(
            f"nothing was heard of the model in {attempt} tries: see the room's log"
        )
        return fail(session, key=key, attempt=attempt, error=silent, unheard=True)
    if (over := _over_budget(session, step)) is not None:
        return fail(session, key=key, attempt=attempt, error=over, unheard=True)
    data = ModelReasked(attempt=attempt + 1, reason="nothing was heard of the call")
    return Decision((by_router(data, key[1], step),))


def never_sent(session: Session, *, key: tuple[str, str, str], attempt: int) -> Decision:
    """The call was cancelled before it was sent: what is held for it is given back."""
    turn = session.turns.get(key[1])
    step = turn.steps.get(key[2]) if turn else None
    if step is None or step.asked is None or not step.asked.reserved:
        return Decision()
    known = (key[1], key[2], attempt) in session.discarded
    if known or not isinstance(step.outcome, ModelCancelled):
        return Decision()
    data = ModelDiscarded(attempt=attempt, reason="cancelled")
    return Decision((by_router(data, key[1], step),))


def _over_budget(session: Session, step: Step) -> BudgetExceeded | None:
    """Why the call may not be sent again: the silent one may be answered, and paid for, as well."""
    assert session.open
    assert step.asked
    config, asked = session.open.config, step.asked
    if asked.reserved is None:
        return None
    over = overrun(session.ledger, config, asked.participant, asked.reserved)
    if over is None:
        return None
    return BudgetExceeded(f"nothing was heard of the call, and {explained(over)}")


def reserved(session: Session, answer: Accounted) -> Decision:
    """What an account's decision becomes: the step goes on, or its next attempt does."""
    data = answer.reserved or answer.refused
    turn = session.open
    step = turn.steps.get(data.step) if turn and data and turn.id == data.turn else None
    if data is None or step is None or step.outcome is not None:
        return Decision()
    if data.attempt == 1:
        known = step.asked is not None or step.reservation is not None
        return Decision() if known else Decision((by_router(data, data.turn, step),))
    key = (session.stream, data.turn, step.key)
    if isinstance(data, BudgetReserved):
        return reask(session, key=key, attempt=data.attempt - 1)
    error = BudgetExceeded("nothing was heard of the call, and its account cannot pay for another")
    return fail(session, key=key, attempt=data.attempt - 1, error=error, unheard=True)


def fail(
    session: Session,
    *,
    key: tuple[str, str, str],
    attempt: int,
    error: ControlRoomError,
    unheard: bool = False,
) -> Decision:
    """The call cannot be had at all, or (`unheard`) not be waited for any longer."""
    step = awaited(session, key, attempt)
    if step is None:
        return Decision()
    if step.called is not None:
        return returning.failed(step, key=key, error=error)
    if step.run is not None:
        return running.failed(step, key=key, error=error)
    data = ModelFailed(
        attempt=attempt,
        error=type(error).__name__,
        message=error.message,
        retryable=error.retryable,
        tries=attempt,
        unheard=unheard,
    )
    return Decision((by_router(data, key[1], step),))
