"""From a command to the inputs that it becomes: pure decisions on a session's state."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from actors import forms
from actors.messages import (
    AnswerElicitation,
    AnyCommand,
    Approve,
    CancelTurn,
    Close,
    CreateSession,
    Pause,
    PostTurn,
    Reconfigure,
    Resume,
    RetryTurn,
)
from actors.routing.batch import Given
from events.config import SessionConfig
from events.errors import ConfigError, Refused
from events.faults import faults
from events.session import Done, Session
from events.tools import ApprovalDenied, ApprovalGranted, ElicitationAnswered
from events.turns import Step, Turn, TurnStatus
from events.types import (
    Input,
    Retry,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TurnCancelled,
    TurnQueued,
    TurnStarted,
)
from events.values import SPILL, Blob, Semantics


class NotFound(ConfigError):
    """The session or the turn does not exist."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a new turn stands on: its facts, and the versions that decide it."""

    facts: Blob
    semantics: Semantics


Grounding = Callable[[SessionConfig, str, bool], Ground]
"""Gives what a turn under a configuration stands on, by whom it is paid, and whether as a retry."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The inputs to record (none where the command changes nothing), and what is answered.

    `position` is set where the answer is an event of the past. `step` is the one that a run's call
    is, `matched` whether an earlier attempt of the run made it.
    """

    givens: tuple[Given, ...] = ()
    turn: str | None = None
    state: TurnStatus | None = None
    position: int | None = None
    step: str | None = None
    matched: bool = False


Decide = Callable[[Session], Decision]
"""A decision that is taken once the session is there, and again where another one was faster."""


def decide(
    session: Session,
    command: AnyCommand,
    *,
    ground: Grounding,
    check: Callable[[SessionConfig, str], None],
) -> Decision:
    """What `command` does to `session`.

    `check` raises `ConfigError` for a configuration that cannot run here; `ground` gives what a
    turn stands on.
    Raises `NotFound` for what does not exist, `Refused` for what is not possible now, and other
    `ConfigError`s for what can never be.
    """
    if (repeated := _repeated(session, command)) is not None:
        return repeated
    if isinstance(command, CreateSession):
        return _create(session, command, check)
    config = session.config
    if config is None:
        raise NotFound(f"there is no session {session.stream!r}: create it first")
    if session.status == "closed" and not isinstance(command, Close):
        raise Refused(f"session {session.stream!r} is closed: create another one")
    match command:
        case PostTurn():
            return _post(session, config, command, ground)
        case RetryTurn():
            return _retry(session, config, command, ground)
        case CancelTurn():
            return _cancel(session, command)
        case Approve() | AnswerElicitation():
            return _decided_by_person(session, command)
        case Reconfigure():
            return _reconfigure(config, command, check)
        case _:
            return _change_status(session, command)


def can_start(session: Session) -> bool:
    """Whether the turn at the head of the queue may start now."""
    return session.open is None and bool(session.queue) and session.status == "active"


def next_turn(session: Session, ground: Grounding) -> Given | None:
    """The input that starts the turn at the head of the queue, where one may start now."""
    if not can_start(session):
        return None
    assert session.config
    turn = session.turns[session.queue[0]]
    basis = ground(session.config, turn.by or "", False)
    started = TurnStarted(facts=basis.facts, semantics=basis.semantics)
    return Given(started, by="router", turn=turn.id, cause=turn.queued_at)


def _one(command: AnyCommand, data: Input) -> Decision:
    return Decision((Given(data, command.by, command.id),))


def _repeated(session: Session, command: AnyCommand) -> Decision | None:
    done = session.commands.get(command.id)
    if done is None or isinstance(command, CreateSession):  # which its config makes recognisable
        return None
    if not _is_repetition(command, done):
        raise ConfigError(
            f"Idempotency-Key {command.id!r} was used for another request to this session: "
            "use a new key for a new message or another request"
        )
    state = session.turns[done.turn].status if done.turn else None
    return Decision(turn=done.turn, state=state, position=done.position)


def _is_repetition(command: AnyCommand, done: Done) -> bool:
    match command, done.payload:
        case PostTurn(), TurnStarted() | TurnQueued() as posted:
            return posted.message == command.message
        case RetryTurn(), TurnStarted(retry=retry):
            return retry == command.retry
        case CancelTurn(), TurnCancelled():
            return done.turn == command.turn
        case Approve(), ApprovalGranted() | ApprovalDenied() as said:
            same = command.granted is isinstance(said, ApprovalGranted)
            return same and (done.turn, done.step) == (command.turn, command.step)
        case AnswerElicitation(), ElicitationAnswered() as said:
            same = (said.action, said.content) == (command.action, command.content)
            return same and (done.turn, done.step) == (command.turn, command.step)
        case (
            (Reconfigure(), SessionReconfigured())
            | (Pause(), SessionPaused())
            | (Resume(), SessionResumed())
            | (Close(), SessionClosed())
        ):
            return True
        case _:
            return False


def _create(
    session: Session, command: CreateSession, check: Callable[[SessionConfig, str], None]
) -> Decision:
    assert isinstance(command.config, SessionConfig)
    if session.config is None:
        check(command.config, command.by)
        return _one(command, SessionCreated(config=command.config))
    if session.first_config == command.config:
        return Decision(position=1)
    raise Refused(
        f"there is a session {session.stream!r} with another configuration: change that one with "
        "PATCH, or choose another session_id"
    )


def _reconfigure(
    config: SessionConfig, command: Reconfigure, check: Callable[[SessionConfig, str], None]
) -> Decision:
    changed = _changed(config, command)
    if changed == config:
        return Decision()
    check(changed, command.by)
    return _one(command, SessionReconfigured(config=changed))


def _changed(config: SessionConfig, command: Reconfigure) -> SessionConfig:
    if command.changes.get("session_id", config.session_id) != config.session_id:
        raise ConfigError("'session_id' cannot be changed: create another session")
    try:
        return SessionConfig.model_validate(config.model_dump(mode="json") | command.changes)
    except ValidationError as error:
        raise ConfigError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """A validation error in one line that names every field concerned."""
    parts = []
    for place, what in faults(error.errors(include_url=False, include_input=False)):
        where = ".".join(str(part) for part in place)
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts[:20])


def _post(
    session: Session,
    config: SessionConfig,
    command: PostTurn,
    ground: Grounding,
) -> Decision:
    turn = f"t{session.turn_count + 1}"
    if session.open is None and not session.queue and session.status == "active":
        basis = ground(config, command.by, False)
        started = TurnStarted(message=command.message, facts=basis.facts, semantics=basis.semantics)
        given = Given(started, command.by, command.id, turn)
        return Decision((given,), turn, "open")
    if not command.queue:
        what = "paused" if session.open is None else "busy with a turn"
        raise Refused(f"session {session.stream!r} is {what}: post again later, or let it queue")
    if len(session.queue) >= config.queue:
        raise Refused(
            f"{len(session.queue)} messages wait in session {session.stream!r} already: wait for "
            "them, cancel one, or raise 'queue'"
        )
    given = Given(TurnQueued(message=command.message), command.by, command.id, turn)
    return Decision((given,), turn, "queued")


def _retry(
    session: Session,
    config: SessionConfig,
    command: RetryTurn,
    ground: Grounding,
) -> Decision:
    retry = command.retry
    turn = session.turns.get(retry.turn)
    if turn is None:
        raise NotFound(f"session {session.stream!r} has no turn {retry.turn!r}")
    if config.participant(retry.participant) is None:
        names = ", ".join(model.id for model in config.models)
        raise ConfigError(f"{retry.participant!r} is not a participant: there are {names}")
    if turn.last_ask(retry.participant) is None:
        raise Refused(f"{retry.participant!r} was not asked for an answer in turn {retry.turn!r}")
    if session.open is not None or session.queue or session.status != "active":
        raise Refused(
            f"session {session.stream!r} is busy or paused: retry when its turns have ended"
        )
    basis = ground(config, command.by, True)
    started = TurnStarted(
        retry=Retry(turn=turn.id, participant=retry.participant),
        facts=basis.facts,
        semantics=basis.semantics,
    )
    id = f"t{session.turn_count + 1}"
    return Decision((Given(started, command.by, command.id, id),), id, "open")


def _cancel(session: Session, command: CancelTurn) -> Decision:
    turn = session.turns.get(command.turn)
    if turn is None:
        raise NotFound(f"session {session.stream!r} has no turn {command.turn!r}")
    if turn.status == "cancelled":
        return Decision(turn=turn.id, state="cancelled", position=turn.ended_at)
    if turn.status in ("completed", "failed"):
        raise Refused(f"turn {turn.id!r} has {turn.status} already")
    given = Given(TurnCancelled(reason=command.reason), command.by, command.id, turn.id)
    return Decision((given,), turn.id, "cancelled")


def _decided_by_person(session: Session, command: Approve | AnswerElicitation) -> Decision:
    turn = session.turns.get(command.turn)
    if turn is None:
        raise NotFound(f"session {session.stream!r} has no turn {command.turn!r}")
    step = turn.steps.get(command.step)
    if step is None or step.use is None:
        raise NotFound(f"turn {turn.id!r} has no call of a tool in step {command.step!r}")
    if isinstance(command, Approve):
        return _approve(command, turn, step)
    return _answer(command, turn, step)


def _approve(command: Approve, turn: Turn, step: Step) -> Decision:
    if step.wanted is None:
        raise Refused(f"step {step.key!r} of turn {turn.id!r} needs nobody's approval")
    denied = isinstance(step.outcome, ApprovalDenied)
    if step.granted if command.granted else denied:
        return Decision(turn=turn.id, state=turn.status)
    if step.granted or denied:
        raise Refused(f"the call was {'granted' if step.granted else 'denied'} already")
    if "" not in step.questions:
        over = "it was called off" if turn.status == "open" else f"turn {turn.id!r} is over"
        raise Refused(f"the call is not wanted any more: {over}")
    kind = ApprovalGranted if command.granted else ApprovalDenied
    return _said(command, turn, step, kind(reason=command.reason))


def _answer(command: AnswerElicitation, turn: Turn, step: Step) -> Decision:
    open = [id for id in step.questions if id]
    question = command.question or (open[0] if len(open) == 1 else None)
    if question is None:
        which = f"name one of {', '.join(open)}" if open else "it has been answered, or is over"
        raise Refused(f"step {step.key!r} of turn {turn.id!r} asks {len(open)} questions: {which}")
    if question not in step.elicited:
        raise NotFound(f"step {step.key!r} of turn {turn.id!r} has asked no {question!r}")
    said = ElicitationAnswered(id=question, action=command.action, content=command.content)
    if step.answered.get(question) == said:
        return Decision(turn=turn.id, state=turn.status)
    if question not in open:
        raise Refused(f"question {question!r} was answered already, or its call is over")
    if command.content is not None and command.action != "accept":
        raise ConfigError("'content' goes with the action 'accept' alone: leave it out")
    _check_content(command.content)
    form = step.elicited[question].form
    if form is not None and command.action == "accept":
        _check_form(form, command.content or {})
    return _said(command, turn, step, said)


def _check_content(content: dict[str, Any] | None) -> None:
    try:
        json.dumps(content, allow_nan=False)  # which orjson would write as null
        size = len(orjson.dumps(content))
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(
            "the content has an integer of more than 64 bits, a number that is not finite, or too "
            "many levels: send such a thing as a text"
        ) from None
    if size > SPILL:
        raise ConfigError(f"the content has {size} bytes, and may have {SPILL}: shorten it")


def _check_form(form: dict[str, Any], content: dict[str, Any]) -> None:
    if forms.unfit(form) is not None:
        return  # what does not describe an answer cannot refuse one
    if told := "; ".join(forms.faults(form, content)):
        raise ConfigError(f"the content does not fit the form: {told[:1000]}")


def _said(command: Approve | AnswerElicitation, turn: Turn, step: Step, data: Input) -> Decision:
    given = Given(data, command.by, command.id, turn.id, step.key, step.position)
    return Decision((given,), turn.id, "open")


def _change_status(session: Session, command: Pause | Resume | Close) -> Decision:
    match command, session.status:
        case (Pause(), "paused") | (Resume(), "active") | (Close(), "closed"):
            return Decision()
        case Pause(), _:
            return _one(command, SessionPaused())
        case Resume(), _:
            return _one(command, SessionResumed())
        case _:
            return _close(session, command)


def _close(session: Session, command: Close) -> Decision:
    open_turns = [session.open.id] if session.open else []
    cancelled = tuple(
        Given(TurnCancelled(reason="the session was closed"), command.by, turn=turn)
        for turn in [*open_turns, *session.queue]
    )
    return Decision((*cancelled, Given(SessionClosed(), command.by, command.id)))
