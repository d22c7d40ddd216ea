"""From a run's calls and its end to the inputs that they become: pure decisions."""

from __future__ import annotations

from actors.awaited import awaited, by_router
from actors.deciding import Decision, NotFound
from actors.frameworks.registry import repeatable
from actors.messages import Outcome, RunAsk, RunCall
from actors.routing.batch import Given
from actors.routing.tool_loop import token
from events.errors import ConfigError, ControlRoomError, Refused
from events.run_state import RunState
from events.runs import RunAsked, RunCalled, RunFailed, RunMatched, RunRestarted
from events.session import Session
from events.turns import Step, Turn


def decide_call(session: Session, command: RunAsk | RunCall) -> Decision:
    """The step of a run's call: one that an earlier attempt made, or else a new one.

    The decision names it. Raises `Refused` where the run is over, paused, or at another attempt,
    and `ConfigError` where it asks for who is not there.
    """
    turn = session.turns.get(command.turn)
    if turn is None or turn.run is None:
        raise NotFound(f"session {session.stream!r} has no run {command.turn!r}")
    run = turn.run
    if (known := run.commands.get(command.id)) is not None:
        if known not in run.steps[command.digest]:
            raise ConfigError("the Idempotency-Key was used for another call: use another")
        return Decision(turn=turn.id, step=known)
    _check(session, turn, run, command)
    step = run.recorded(command.digest)
    if step is not None:
        matched = RunMatched(attempt=command.attempt, digest=command.digest)
        given = Given(matched, command.by, command.id, turn.id, step)
        return Decision((given,), turn.id, step=step, matched=True)
    step = _next_key(turn, command)
    given = Given(_input(command), command.by, command.id, turn.id, step)
    return Decision((given,), turn.id, step=step)


def _check(session: Session, turn: Turn, run: RunState, command: RunAsk | RunCall) -> None:
    if session.open is not turn:
        raise Refused(f"the run has ended ({turn.status}): nothing more can be asked in it")
    if session.status == "paused":
        raise Refused("the session is paused: its run goes on when it is resumed")
    if run.attempt != command.attempt:
        raise Refused("the run was broken off and began again: this is a call of the one before")
    if isinstance(command, RunAsk):
        assert turn.config
        if turn.config.participant(command.participant) is None:
            names = ", ".join(model.id for model in turn.config.models)
            raise ConfigError(f"{command.participant!r} is no model of this run: there are {names}")


def _next_key(turn: Turn, command: RunAsk | RunCall) -> str:
    """The key that the engine will give to the step."""
    if isinstance(command, RunAsk):
        return turn.next_key("ask", command.participant)
    return turn.next_key("call", token(command.name))


def _input(command: RunAsk | RunCall) -> RunAsked | RunCalled:
    if isinstance(command, RunCall):
        return RunCalled(
            attempt=command.attempt,
            name=command.name,
            arguments=command.arguments,
            digest=command.digest,
        )
    return RunAsked(
        attempt=command.attempt,
        participant=command.participant,
        given=command.given,
        tools=command.tools,
        tool_choice=command.tool_choice,
        parameters=command.parameters,
        digest=command.digest,
    )


# --- what becomes of a run -----------------------------------------------------------------------

RESTARTS = 3
"""How often a run that was broken off begins again."""


def receive(session: Session, outcome: Outcome, turn: Turn, step: Step) -> Decision:
    """What a run's end becomes: counted (state `open`), dropped, or a run that begins again.

    What failed because of the room, and not of the workflow, begins again, where it may.
    """
    end = outcome.completed or outcome.run_failed
    if end is None or session.open is not turn or step.outcome is not None:
        return Decision(turn=turn.id, state="open") if end == step.outcome else Decision()
    if outcome.attempt != step.attempt:
        return Decision()
    failed = outcome.run_failed
    again = failed is not None and failed.retryable and step.attempt <= RESTARTS
    if failed is not None and again and _repeatable(step):
        return _again(turn.id, step, failed.message)
    by = f"workflow:{turn.run.framework}" if turn.run else "workflow"
    given = Given(end, by, turn=turn.id, step=step.key, cause=step.position)
    return Decision((given,), turn.id, "open")


def lost(session: Session, *, key: tuple[str, str, str], attempt: int) -> Decision:
    """Nothing is heard of the run: it begins again, or is given up after `RESTARTS` times.

    One that is not repeatable is given up at once.
    """
    step = awaited(session, key, attempt)
    if step is None or step.run is None or session.status == "paused":
        return Decision()
    if not _repeatable(step):
        once = ControlRoomError(
            f"nothing was heard of the run of {step.run.framework}, which is not begun again: it"
            " may have done its work, or be at it still; look there first"
        )
        return failed(step, key=key, error=once, unheard=True)
    if attempt > RESTARTS:
        silent = ControlRoomError(
            f"nothing was heard of the run in {attempt} attempts: see the room's log"
        )
        return failed(step, key=key, error=silent, unheard=True)
    return _again(key[1], step, "nothing was heard of the run")


def failed(
    step: Step, *, key: tuple[str, str, str], error: ControlRoomError, unheard: bool = False
) -> Decision:
    """The workflow cannot be run at all, or (`unheard`) not be waited for any longer."""
    data = RunFailed(
        attempt=step.attempt,
        error=type(error).__name__,
        message=error.message,
        retryable=error.retryable,
        unheard=unheard,
    )
    return Decision((by_router(data, key[1], step),))


def _repeatable(step: Step) -> bool:
    return step.run is not None and repeatable(step.run.framework)


def _again(turn: str, step: Step, reason: str) -> Decision:
    data = RunRestarted(attempt=step.attempt + 1, reason=reason[:1000])
    return Decision((by_router(data, turn, step),), turn, "open")
