"""The session machine: inputs in, events out, and nothing else.

Live turns, crash recovery and replay all drive this one machine; they differ only in where the
inputs come from. It folds every event that it makes, so its state is that of the log plus what was
made and not yet committed. Where a commit fails, the machine is thrown away and restored.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from actors.routing import asking, calling, context, workflow
from actors.routing.admission import admit, awaited
from actors.routing.asking import Asking, Texts
from actors.routing.batch import Batch, Given, compare
from actors.routing.engine import TurnEngine
from actors.routing.offers import Offers
from actors.routing.payment import Made, Payment
from actors.routing.registry import Route, router
from actors.routing.steps import (
    Answer,
    AskStep,
    CallStep,
    Cancelled,
    Decided,
    DrawStep,
    Emission,
    Emitted,
    Ended,
    Failure,
    RunStep,
    TimerStep,
)
from actors.routing.turn import WORKFLOW, Facts, Turn
from actors.routing.verdict import verdict
from actors.routing.versions import ENGINE, PARSERS, readable
from events.envelope import Event
from events.errors import (
    ConfigError,
    Refused,
    ReplayDiverged,
    RouterFault,
    StoreError,
    UnknownEvent,
)
from events.runs import (
    RunAsked,
    RunCalled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunStarted,
)
from events.session import Session
from events.tools import ApprovalDenied, ApprovalGranted, ToolCancelled, ToolFailed, ToolReturned
from events.turns import DEADLINE, Timer
from events.turns import Turn as TurnState
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ChanceDrawn,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    Retry,
    SessionClosed,
    SessionResumed,
    TimerFired,
    TimerSet,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from events.values import Blob

__all__ = ["ENGINE", "PARSERS", "Scripts", "SessionMachine"]

Scripts = Callable[[Blob, str], Route]
"""Gives the router of a recorded source, by its entry `module:function`."""


class SessionMachine:
    """Decides what follows from each input of one session.

    `load` reads a text by its reference (content-addressed, so it always gives the same).
    `texts.made` collects long texts that the machine made: the caller stores them before it
    appends.
    """

    def __init__(self, stream: str, load: context.Load, scripts: Scripts | None = None) -> None:
        self.session = Session(stream)
        self.texts = Texts(load)
        self._asking = Asking(self.session, self.texts)
        self._scripts = scripts
        self._engine: TurnEngine | None = None
        self._payment = Payment(self.session, self._asking)
        self._offers = Offers()
        self._held: dict[str, Any] = {}
        self._drawing: set[str] = set()

    def advance(self, given: Given, at: datetime) -> list[Event]:
        """Take one input: returns its event and every event that follows from it, in order.

        The events are folded into `session` already; they are not stored yet. Raises `Refused`,
        and nothing has changed, where the input does not fit the session's state. After any other
        error (a text that cannot be loaded, a turn of another release) the machine is no longer of
        use: restore another.
        """
        admit(self.session, given, self._drawing)
        batch = Batch(self.session, given, at)
        for warning in self._payment.warnings(given):
            batch.add(warning, given.turn or "")
        match given.data:
            case (
                ModelAnswered()
                | ModelFailed()
                | ToolReturned()
                | ToolFailed()
                | RunCompleted()
                | RunFailed() as data
            ) if given.step:
                self._feed(batch, given.step, self._outcome(given.step, data))
            case (
                BudgetReserved() | BudgetRefused() | ApprovalGranted() | ApprovalDenied() as data
            ) if given.step:
                self._feed(batch, given.step, data)
            case RunAsked() | RunCalled() as data if self._engine is not None:
                self._emit(batch, workflow.injected(self._engine, data, self.texts))
            case TurnStarted():
                self._begin(batch)
            case ChanceDrawn(value=value) if given.step:
                self._drawing.discard(given.step)
                self._feed(batch, given.step, value)
            case TimerFired() if given.step == DEADLINE:
                self._deadline(batch)
            case TimerFired() if given.step:
                self._feed(batch, given.step, None)
            case SessionResumed() | SessionClosed():
                held, self._held = self._held, {}
                for key, outcome in held.items():
                    self._feed(batch, key, outcome)
            case TurnCancelled() if given.turn and self.session.open is None:
                self._called_off(batch, given.turn)
        return batch.events

    def restore(self, recorded: Sequence[Event]) -> None:
        """Fold a recorded stream; an open turn's router is run again up to where it stood.

        Raises `ReplayDiverged` where that router does not do again what the log holds, and what
        `advance` raises where this process cannot run it.
        """
        index = _opened(recorded)
        for event in recorded[:index]:
            self.session.apply(event)
        while index < len(recorded):
            event = recorded[index]
            try:
                made = self.advance(Given.of(event), event.at)
            except Refused as error:
                raise ReplayDiverged(event.position, event, f"nothing ({error})") from error
            compare(recorded[index : index + len(made)], made)
            index += len(made)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Keys of the open turn's steps that have no outcome yet."""
        if self._engine is None:
            return ()
        return tuple(key for key in self._engine.open_steps if key not in self._held)

    @property
    def draws(self) -> tuple[str, ...]:
        """Those of `waiting` that wait for chance; the caller answers each with `ChanceDrawn`."""
        return tuple(key for key in self.waiting if key in self._drawing)

    @property
    def timers(self) -> Mapping[str, Timer]:
        """The open turn's timers that somebody waits for, and its deadline, by step key.

        `session.open.timers` also holds those that lost a race: nothing follows when they fire.
        """
        turn = self.session.open
        if turn is None:
            return {}
        wanted = {DEADLINE, *self.waiting}
        return {key: timer for key, timer in turn.timers.items() if key in wanted}

    def request(self, key: str) -> tuple[ModelAsked, list[context.Said]]:
        """The step `key` of the open turn, and its messages as they are sent to the model."""
        turn = self._open()
        asked = turn.steps[key].asked
        assert asked
        parts = context.parts(self.session, turn, asked)
        return asked, context.messages(parts, self.texts.load)

    # --- turns -----------------------------------------------------------------------------------

    def _open(self) -> TurnState:
        assert self.session.open
        return self.session.open

    def _begin(self, batch: Batch) -> None:
        turn = self._open()
        assert turn.config
        assert turn.started
        semantics = turn.started.semantics
        readable(semantics)
        if semantics.script is not None and self._scripts is None:
            raise ConfigError(f"turn {turn.id} runs a script, and this process may run none")
        self._held, self._drawing = {}, set()
        self._engine = engine = TurnEngine(turn.config.max_steps)
        facts = Facts.of(orjson.loads(self.texts.load(turn.started.facts)))
        self._payment.begin(facts, semantics)
        try:
            self._offers = self._asking.offers = self._offered(turn, facts)
            view = Turn(
                engine,
                id=turn.id,
                message=self.texts.read(turn.message.content) if turn.message else "",
                # A script could change what hangs on the configuration, such as `extra`.
                config=turn.config.model_copy(deep=True) if semantics.script else turn.config,
                facts=facts,
                last_speaker=self.session.last_speaker,
                offers=self._offers,
            )
            coroutine = self._coroutine(turn, view)
        except (StoreError, UnknownEvent, KeyboardInterrupt):
            raise  # says something of this process, nothing of the turn
        except BaseException as error:
            self._emit(batch, [Ended(None, error)])
        else:
            self._emit(batch, engine.start(coroutine))

    def _offered(self, turn: TurnState, facts: Facts) -> Offers:
        """The tools of the turn, those that came with the message that it answers included."""
        assert turn.config
        assert turn.started
        if turn.started.semantics.engine < 3:
            return Offers()
        ids = (*(participant.id for participant in turn.config.models), WORKFLOW)
        message = self.session.turns[self.session.origin(turn.id)].message
        return Offers.gathered(ids, facts.raw, message, self.texts.load, self.texts.keep)

    def _coroutine(self, turn: TurnState, view: Turn) -> Coroutine[Any, Any, Any]:
        assert turn.config
        assert turn.started
        semantics = turn.started.semantics
        if turn.started.retry is not None:
            return self._again(turn.started.retry, view)
        if semantics.script is None:
            return router(turn.config.routing_pattern, semantics.router)(view)
        assert self._scripts
        coroutine = self._scripts(semantics.script, turn.config.script or "")(view)
        if not inspect.iscoroutine(coroutine):
            raise RouterFault(f"{turn.config.script} must be an 'async def' that takes the turn")
        return coroutine

    async def _again(self, retry: Retry, view: Turn) -> Answer | Failure:
        """The router of a retry: the same question to one participant, as it was asked then."""
        step = self.session.turns[retry.turn].last_ask(retry.participant)
        if step is None or step.asked is None:
            raise RouterFault(f"{retry.participant} was not asked for an answer in {retry.turn}")
        return await view.ask_again(asking.repeated(step.asked, step.key, self.texts))

    def _outcome(
        self,
        key: str,
        data: ModelAnswered | ModelFailed | ToolReturned | ToolFailed | RunCompleted | RunFailed,
    ) -> Any:
        """What the router gets."""
        match data:
            case ToolReturned() | ToolFailed():
                return calling.outcome(self._open().steps[key], data, self.texts)
            case RunCompleted() | RunFailed():
                return workflow.outcome(key, data, self.texts)
            case _:
                return asking.outcome(key, data, self.texts)

    def _feed(self, batch: Batch, key: str, outcome: Any) -> None:
        turn = self.session.open
        if self.session.status == "paused":
            self._held[key] = outcome
        elif isinstance(outcome, BudgetReserved | BudgetRefused | ApprovalGranted | ApprovalDenied):
            if turn is None or not awaited(turn, key, outcome):
                return  # it was held back in a pause, and comes too late
            if isinstance(outcome, BudgetReserved | BudgetRefused):
                made = self._payment.decided(key, outcome)
            else:
                made = calling.decided(turn.steps[key], outcome)
            self._emit(batch, self._record(batch, turn, key, made))
        elif self._engine is not None:
            instead = self._instead(key) if isinstance(outcome, Failure) else None
            self._emit(batch, self._engine.feed(key, outcome) if instead is None else instead)

    def _instead(self, failed: str) -> list[Emission] | None:
        """What asks the participant's next fallback; None where the failure is to be told."""
        turn = self._open()
        assert turn.started
        assert self._engine
        version = turn.started.semantics.engine
        step = asking.stand_in(turn, failed, self.texts) if version >= 2 else None
        if step is None:
            return None
        return self._engine.instead(failed, step.with_key, greedy=version < 4)

    def _deadline(self, batch: Batch) -> None:
        turn = self._open()
        assert turn.config
        message = (
            f"the turn took longer than its deadline of {turn.config.deadline:g} s: raise "
            "'deadline' of the session, or use faster models"
        )
        self._cancel(batch, turn, self._engine.close() if self._engine else [])
        self._end(batch, TurnFailed(reason="deadline", message=message))

    def _called_off(self, batch: Batch, id: str) -> None:
        if self._engine is not None:
            self._cancel(batch, self.session.turns[id], self._engine.close())
        self._forget()

    # --- emissions -------------------------------------------------------------------------------

    def _emit(self, batch: Batch, emissions: Iterable[Emission]) -> None:
        turn = self.session.open
        if turn is None:
            return  # the turn ended while held outcomes were fed
        due = deque(emissions)
        while due:
            emission = due.popleft()
            match emission:
                case Emitted(AskStep() as step):
                    made = self._payment.ask(turn, asking.continued(turn, step, self.texts))
                    due.extend(self._record(batch, turn, step.key, made))
                case Emitted(CallStep() as call):
                    made = calling.called(turn, call, self._offers, self.texts)
                    due.extend(self._record(batch, turn, call.key, made))
                case Emitted(RunStep(key, framework)):
                    batch.add(RunStarted(framework=framework), turn.id, key)
                case Emitted(TimerStep(key, seconds)):
                    batch.add(TimerSet(seconds=seconds), turn.id, key)
                case Emitted(DrawStep(key)):
                    self._drawing.add(key)
                case Cancelled():
                    self._cancel(batch, turn, [emission])
                case Decided(decision):
                    batch.add(decision, turn.id)
                case Ended(value, fault):
                    self._end(batch, verdict(turn, value, fault, self.texts))

    def _record(self, batch: Batch, turn: TurnState, key: str, made: Made) -> list[Emission]:
        """Record what was made of a step; where it is not sent, returns what comes of that."""
        for event in made.events:
            batch.add(event, turn.id, key)
        if made.failure is None or self._engine is None:
            return []
        return self._engine.feed(key, made.failure)

    def _cancel(self, batch: Batch, turn: TurnState, emissions: Iterable[Cancelled]) -> None:
        """Record the calls that are not wanted any more.

        An answer that is held back while the session is paused has come, and cannot be cancelled.
        """
        for emission in emissions:
            step = turn.steps.get(emission.key)
            if step is None or step.outcome is not None:
                continue
            if step.asked or step.requested:
                batch.add(ModelCancelled(reason=emission.reason), turn.id, step.key)
            elif step.run:
                batch.add(RunCancelled(reason=emission.reason), turn.id, step.key)
            elif step.use:
                batch.add(ToolCancelled(reason=emission.reason), turn.id, step.key)

    def _end(self, batch: Batch, end: TurnCompleted | TurnFailed) -> None:
        batch.add(end, self._open().id)
        self._forget()

    def _forget(self) -> None:
        self._engine = None
        self._held, self._drawing = {}, set()


def _opened(events: Sequence[Event]) -> int:
    """Index of the `turn.started` of the turn that is open at the end, or the length."""
    ended: set[str | None] = set()
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        if isinstance(event.data, TurnCompleted | TurnFailed | TurnCancelled):
            ended.add(event.turn)
        elif isinstance(event.data, TurnStarted):
            return len(events) if event.turn in ended else index
    return len(events)
