"""Which inputs a session can take in its present state.

Who drives the machine decides what to give it; this is the last guard before the log, so that no
input can reach another turn, end a step twice, or bring a session into a state that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from actors.routing.batch import Given
from actors.routing.tool_loop import token
from events.errors import Refused
from events.runs import (
    RunAsked,
    RunCalled,
    RunCompleted,
    RunFailed,
    RunMatched,
    RunRestarted,
)
from events.session import Session
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ElicitationAnswered,
    ElicitationRequested,
    ToolFailed,
    ToolReturned,
)
from events.turns import DEADLINE, Step, Turn
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ChanceDrawn,
    ModelAnswered,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    Payload,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TimerFired,
    TurnCancelled,
    TurnQueued,
    TurnStarted,
)

Why = str | None
"""Why an input does not fit, or None where it does."""


def admit(session: Session, given: Given, draws: Collection[str]) -> None:
    """Raise `Refused` where `given` does not fit; `draws` are the keys that wait for chance."""
    kind = type(given.data)
    if session.status == "none" and kind is not SessionCreated:
        why: Why = "there is no session yet"
    elif session.status == "closed" and kind in _NEEDS_OPEN_SESSION:
        why = "the session is closed"
    elif kind in _IN_OPEN_TURN and (session.open is None or session.open.id != given.turn):
        why = "the turn is not open"
    elif kind is ChanceDrawn:
        why = None if given.step in draws else "no step waits for that chance"
    else:
        check = _CHECKS.get(kind)
        why = check(session, given) if check is not None else None
    if why is not None:
        where = ", ".join(part for part in (session.stream, given.turn, given.step) if part)
        raise Refused(f"{given.data.type} does not fit ({where}): {why}")


def awaited(
    turn: Turn,
    key: str,
    decision: BudgetReserved | BudgetRefused | ApprovalGranted | ApprovalDenied,
) -> bool:
    """Whether a step still waits for the decision on it, which a pause may have held back.

    What was held back with it may have cancelled the step. Engines before the third go on with a
    step that was cancelled, as their sessions have recorded it.
    """
    if turn.started is not None and turn.started.semantics.engine < 3:
        return True
    return turn.steps[key].outcome in (None, decision)


def _created(session: Session, given: Given) -> Why:
    return None if session.status == "none" else "the session was created before"


def _paused(session: Session, given: Given) -> Why:
    return None if session.status == "active" else "the session is paused"


def _resumed(session: Session, given: Given) -> Why:
    return None if session.status == "paused" else "the session is not paused"


def _queued(session: Session, given: Given) -> Why:
    if not given.turn:
        return "a turn needs an id"
    return "the turn exists" if given.turn in session.turns else None


def _started(session: Session, given: Given) -> Why:
    assert isinstance(given.data, TurnStarted)
    if session.open is not None:
        return f"turn {session.open.id} is open"
    if session.status == "paused":
        return "the session is paused"
    if not given.turn:
        return "a turn needs an id"
    turn, retry = session.turns.get(given.turn), given.data.retry
    if turn is not None:
        return None if turn.status == "queued" else "the turn was started before"
    if retry is not None:
        return None if retry.turn in session.turns else "the turn to retry does not exist"
    return None if given.data.message is not None else "there is no message"


def _cancelled(session: Session, given: Given) -> Why:
    turn = session.turns.get(given.turn or "")
    live = turn is not None and turn.status in ("queued", "open")
    return None if live else "the turn is neither open nor queued"


def _asked(session: Session, given: Given) -> Why:
    step = session.open.steps.get(given.step or "") if session.open else None
    if step is None or step.asked is None:
        return "nobody was asked that"
    return None if step.outcome is None else "the step has an outcome: record model.discarded"


def _requested(session: Session, given: Given) -> Why:
    step = session.open.steps.get(given.step or "") if session.open else None
    if step is None or step.requested is None or step.asked is not None:
        return "no account was asked for that"
    decided = step.reservation is not None or step.outcome is not None
    return "that was decided before" if decided else None


def _running(session: Session, given: Given) -> Why:
    if session.open is None or given.step not in session.open.timers:
        return "there is no such timer"
    if given.step == DEADLINE and session.status == "paused":
        return "a deadline stands still while the session is paused"
    if given.step == DEADLINE and session.open.asks_person:
        return "a deadline stands still while a person is asked"
    return None


def _call(session: Session, given: Given) -> Why:
    step = _open_call(session, given)
    if step is None or step.called is None:
        return "no such tool was called"
    return None if step.outcome is None else "the call has an outcome"


def _approval(session: Session, given: Given) -> Why:
    step = _open_call(session, given)
    if step is None or step.wanted is None:
        return "nobody was asked to allow that"
    return None if "" in step.questions else "that was decided before"


def _elicited(session: Session, given: Given) -> Why:
    assert isinstance(given.data, ElicitationRequested)
    step = _open_call(session, given)
    known = step is not None and given.data.id in step.elicited
    return "that was asked before" if known else _call(session, given)


def _elicitation(session: Session, given: Given) -> Why:
    assert isinstance(given.data, ElicitationAnswered)
    step = _open_call(session, given)
    asked = step is not None and given.data.id in step.questions
    return None if asked else "nobody is asked that"


def _run_call(session: Session, given: Given) -> Why:
    turn, data = session.open, given.data
    assert isinstance(data, RunAsked | RunCalled | RunMatched)
    if turn is None or turn.run is None or turn.run.attempt != data.attempt:
        return "no run makes that call"
    if session.status == "paused":
        return "the session is paused"
    if isinstance(data, RunMatched):
        recorded = turn.run.recorded(data.digest) == given.step
        return None if recorded else "that is not the step of that call"
    if isinstance(data, RunAsked):
        key = turn.next_key("ask", data.participant)
    else:
        key = turn.next_key("call", token(data.name))
    return None if given.step == key else f"the next step of that kind is {key}"


def _run(session: Session, given: Given) -> Why:
    step = _open_call(session, given)
    if step is None or step.run is None:
        return "no workflow runs as that step"
    return None if step.outcome is None else "the run has ended"


def _open_call(session: Session, given: Given) -> Step | None:
    return session.open.steps.get(given.step or "") if session.open else None


def _discarded(session: Session, given: Given) -> Why:
    turn = session.turns.get(given.turn or "")
    return None if turn is not None and given.step in turn.steps else "there is no such step"


_CHECKS: dict[type[Payload], Callable[[Session, Given], Why]] = {
    SessionCreated: _created,
    SessionPaused: _paused,
    SessionResumed: _resumed,
    TurnQueued: _queued,
    TurnStarted: _started,
    TurnCancelled: _cancelled,
    ModelAnswered: _asked,
    ModelFailed: _asked,
    ModelReasked: _asked,
    ModelDiscarded: _discarded,
    TimerFired: _running,
    BudgetReserved: _requested,
    BudgetRefused: _requested,
    ToolReturned: _call,
    ToolFailed: _call,
    ApprovalGranted: _approval,
    ApprovalDenied: _approval,
    ElicitationRequested: _elicited,
    ElicitationAnswered: _elicitation,
    RunAsked: _run_call,
    RunCalled: _run_call,
    RunMatched: _run_call,
    RunRestarted: _run,
    RunCompleted: _run,
    RunFailed: _run,
}

_IN_OPEN_TURN = frozenset(
    {
        ModelAnswered,
        ModelFailed,
        ModelReasked,
        BudgetReserved,
        BudgetRefused,
        TimerFired,
        ChanceDrawn,
        ToolReturned,
        ToolFailed,
        ApprovalGranted,
        ApprovalDenied,
        ElicitationRequested,
        ElicitationAnswered,
        RunAsked,
        RunCalled,
        RunMatched,
        RunRestarted,
        RunCompleted,
        RunFailed,
    }
)

_NEEDS_OPEN_SESSION = frozenset(
    {SessionPaused, SessionResumed, SessionReconfigured, TurnQueued, TurnStarted}
)
