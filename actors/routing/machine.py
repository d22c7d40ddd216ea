"""The session machine: inputs in, events out, and nothing else.

Live turns, crash recovery and replay all drive this one machine; they differ only in where the
inputs come from. It folds every event that it makes, so its state is that of the log plus what was
made and not yet committed. Where a commit fails, the machine is thrown away and restored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

from actors.routing import asking, context
from actors.routing.asking import Texts
from actors.routing.batch import Batch, Given, compare
from actors.routing.engine import TurnEngine
from actors.routing.registry import Route, router
from actors.routing.steps import (
    Answer,
    AskStep,
    Cancelled,
    Decided,
    DrawStep,
    Emission,
    Emitted,
    Ended,
    StepLimit,
    TimerStep,
)
from actors.routing.turn import Facts, Turn
from events.envelope import Event
from events.errors import ControlRoomError, RouterFault
from events.session import DEADLINE, Session
from events.session import Turn as TurnState
from events.types import (
    ChanceDrawn,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    Retry,
    SessionResumed,
    TimerFired,
    TimerSet,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from events.values import Blob

ENGINE = 1
"""Version of the engine and of this machine."""
PARSERS = 1
"""Version of `actors.routing.parsing`."""

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
        self._scripts = scripts
        self._engine: TurnEngine | None = None
        self._held: list[tuple[str, Any]] = []
        self._draws: list[str] = []

    def advance(self, given: Given, at: datetime) -> list[Event]:
        """Take one input: returns its event and every event that follows from it, in order.

        The events are folded into `session` already; they are not stored yet.
        """
        batch = Batch(self.session, given, at)
        match given.data:
            case TurnStarted():
                self._begin(batch)
            case ModelAnswered() | ModelFailed() as data if given.step:
                self._feed(batch, given.step, asking.outcome(given.step, data, self.texts))
            case ChanceDrawn(value=value) if given.step:
                self._feed(batch, given.step, value)
            case TimerFired() if given.step == DEADLINE:
                self._deadline(batch)
            case TimerFired() if given.step:
                self._feed(batch, given.step, None)
            case SessionResumed():
                held, self._held = self._held, []
                for key, outcome in held:
                    self._feed(batch, key, outcome)
            case TurnCancelled() if given.turn and self.session.open is None:
                self._called_off(batch, given.turn)
            case _:
                pass
        return batch.events

    def restore(self, recorded: Sequence[Event]) -> None:
        """Fold a recorded stream; an open turn's router is run again up to where it stood.

        Raises `ReplayDiverged` where that router does not do again what the log holds.
        """
        index = _opened(recorded)
        for event in recorded[:index]:
            self.session.apply(event)
        while index < len(recorded):
            event = recorded[index]
            made = self.advance(Given.of(event), event.at)
            compare(recorded[index : index + len(made)], made)
            index += len(made)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Keys of the open turn's steps that have no outcome yet."""
        turn = self.session.open
        if turn is None or self._engine is None:
            return ()
        held = {key for key, _ in self._held}
        return tuple(key for key in self._engine.open_steps if key not in held)

    @property
    def draws(self) -> tuple[str, ...]:
        """Those of `waiting` that wait for chance; the caller answers each with `ChanceDrawn`."""
        return tuple(key for key in self.waiting if key in self._draws)

    def request(self, key: str) -> tuple[ModelAsked, list[tuple[context.Role, str]]]:
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
        self._held, self._draws = [], []
        self._engine = engine = TurnEngine(turn.config.max_steps)
        facts = orjson.loads(self.texts.load(turn.started.facts))
        view = Turn(
            engine,
            id=turn.id,
            message=self.texts.read(turn.message.content) if turn.message else "",
            config=turn.config,
            facts=Facts.of(facts),
            last_speaker=self.session.last_speaker,
        )
        try:
            coroutine = self._coroutine(turn, view)
        except Exception as error:
            self._emit(batch, [*engine.close(), Ended(None, error)])
        else:
            self._emit(batch, engine.start(coroutine))

    def _coroutine(self, turn: TurnState, view: Turn) -> Coroutine[Any, Any, Any]:
        assert turn.config
        assert turn.started
        semantics = turn.started.semantics
        if turn.started.retry is not None:
            return self._again(turn.started.retry, view)
        if semantics.script is None:
            return router(turn.config.routing_pattern, semantics.router)(view)
        if self._scripts is None:
            raise RouterFault("this process may not run scripts")
        coroutine = self._scripts(semantics.script, turn.config.script or "")(view)
        if not inspect.iscoroutine(coroutine):
            raise RouterFault(f"{turn.config.script} must be an 'async def' that takes the turn")
        return coroutine

    async def _again(self, retry: Retry, view: Turn) -> Answer | None:
        """The router of a retry: the same question to one participant, as it was asked then."""
        step = self.session.turns[retry.turn].last_ask(retry.participant)
        assert step
        assert step.asked
        outcome = await view.ask_again(asking.repeated(step.asked, step.key, self.texts))
        return outcome if isinstance(outcome, Answer) else None

    def _feed(self, batch: Batch, key: str, outcome: Any) -> None:
        if self.session.status == "paused":
            self._held.append((key, outcome))
        elif self._engine is not None:
            self._emit(batch, self._engine.feed(key, outcome))

    def _deadline(self, batch: Batch) -> None:
        turn = self._open()
        assert turn.config
        assert self._engine
        message = (
            f"the turn took longer than its deadline of {turn.config.deadline:g} s: raise "
            "'deadline' of the session, or use faster models"
        )
        self._cancel(batch, turn.id, self._engine.close())
        self._end(batch, TurnFailed(reason="deadline", message=message))

    def _called_off(self, batch: Batch, turn: str) -> None:
        if self._engine is not None:
            self._cancel(batch, turn, self._engine.close())
        self._engine = None

    # --- emissions -------------------------------------------------------------------------------

    def _emit(self, batch: Batch, emissions: Iterable[Emission]) -> None:
        turn = self.session.open
        if turn is None:
            return  # the turn ended while held outcomes were fed
        for emission in emissions:
            match emission:
                case Emitted(AskStep() as step):
                    asked = asking.asked(self.session, turn, step, self.texts)
                    batch.add(asked, turn.id, step.key)
                case Emitted(TimerStep(key, seconds)):
                    batch.add(TimerSet(seconds=seconds), turn.id, key)
                case Emitted(DrawStep(key)):
                    self._draws.append(key)
                case Cancelled():
                    self._cancel(batch, turn.id, [emission])
                case Decided(decision):
                    batch.add(decision, turn.id)
                case Ended(value, fault):
                    self._end(batch, self._verdict(turn, value, fault))

    def _cancel(self, batch: Batch, turn: str, emissions: Iterable[Emission]) -> None:
        for emission in emissions:
            if isinstance(emission, Cancelled) and emission.key.startswith("ask:"):
                batch.add(ModelCancelled(reason=emission.reason), turn, emission.key)

    def _end(self, batch: Batch, end: TurnCompleted | TurnFailed) -> None:
        batch.add(end, self._open().id)
        self._engine = None

    def _verdict(
        self, turn: TurnState, value: Any, fault: BaseException | None
    ) -> TurnCompleted | TurnFailed:
        if isinstance(fault, StepLimit):
            return TurnFailed(reason="too_many_steps", message=str(fault))
        if fault is not None:
            name = "" if isinstance(fault, ControlRoomError) else f"{type(fault).__name__}: "
            return TurnFailed(reason="router_fault", message=f"{name}{fault}"[:4000])
        if isinstance(value, Answer):
            return TurnCompleted(answer_from=value.step)
        if isinstance(value, str):
            return TurnCompleted(answer=self.texts.spill(value))
        if value is not None:
            message = f"the router returned {type(value).__name__}: return an Answer, a str or None"
            return TurnFailed(reason="router_fault", message=message)
        if turn.somebody_answered:
            return TurnCompleted()
        return TurnFailed(reason="nobody_answered", message=_why_nobody(turn))


def _why_nobody(turn: TurnState) -> str:
    failed = {
        f"{step.asked.participant}: {step.outcome.message}"
        for step in turn.steps.values()
        if step.asked and isinstance(step.outcome, ModelFailed)
    }
    return f"nobody answered: {'; '.join(sorted(failed)) or 'nobody was asked'}"[:4000]


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
