"""The state of a session, folded from its events: what the write side knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from events import tool_steps
from events.config import SessionConfig
from events.envelope import Event
from events.ledger import ZERO, Ledger
from events.run_state import RunState
from events.runs import (
    RunAsked,
    RunCalled,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunMatched,
    RunRestarted,
    RunStarted,
)
from events.tools import TOOL_PAYLOADS
from events.turns import (
    DEADLINE,
    Entry,
    Outcome,
    Step,
    Timer,
    Turn,
    TurnStatus,
    shown_size,
    text_digest,
    text_size,
)
from events.types import (
    BudgetOverrun,
    BudgetRefused,
    BudgetRequested,
    BudgetReserved,
    BudgetWarned,
    ChanceDrawn,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    Payload,
    RouteDecided,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TimerFired,
    TimerSet,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnQueued,
    TurnStarted,
)
from events.values import Text


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did, kept so that its repetition gets the same answer."""

    position: int
    turn: str | None
    payload: Payload
    step: str | None = None


class Session:
    """The folded state of one session. `apply` is the only thing that changes it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.position = 0
        self.config: SessionConfig | None = None
        self.first_config: SessionConfig | None = None
        self.status: Literal["none", "active", "paused", "closed"] = "none"
        self.turns: dict[str, Turn] = {}
        self.open: Turn | None = None
        self.queue: list[str] = []
        self.entries: list[Entry] = []
        self.said = 0
        """Bytes of all that was ever said, texts attached included."""
        self.images = 0
        """Pictures that were ever attached."""
        self.revision = 0
        """Grows when `entries` changes anywhere but at its end."""
        self.commands: dict[str, Done] = {}
        self.discarded: set[tuple[str, str, int]] = set()
        self.last_speaker: str | None = None
        self.turn_count = 0
        self.created_by: str | None = None
        self.ledger = Ledger()

    def apply(self, event: Event) -> None:
        """Fold one event. Events must come in order and without gaps."""
        self.position = event.position
        if event.command is not None and event.data.kind == "input":
            done = Done(event.position, event.turn, event.data, event.step)
            self.commands.setdefault(event.command, done)
        if (fold := _FOLDS.get(type(event.data))) is not None:
            fold(self, event, event.data)

    # Folds of single events; their names say which.

    def _created(self, event: Event, data: SessionCreated) -> None:
        self.config = self.first_config = data.config
        self.status, self.created_by = "active", event.by

    def _reconfigured(self, event: Event, data: SessionReconfigured) -> None:
        self.config = data.config

    def _paused(self, event: Event, data: SessionPaused) -> None:
        self.status = "paused"
        for timer in self.open.timers.values() if self.open else ():
            timer.stop(event.at)

    def _resumed(self, event: Event, data: SessionResumed) -> None:
        self.status = "active"
        self._rearm(event)

    def _closed(self, event: Event, data: SessionClosed) -> None:
        self.status = "closed"
        self._rearm(event)

    def _rearm(self, event: Event) -> None:
        for key, timer in self.open.timers.items() if self.open else ():
            if key != DEADLINE or not (self.open and self.open.asks_person):
                timer.armed_at = timer.armed_at or event.at

    def _queued(self, event: Event, data: TurnQueued) -> None:
        assert event.turn
        self.turn_count += 1
        self.turns[event.turn] = Turn(
            event.turn, "queued", data.message, event.by, queued_at=event.position
        )
        self.queue.append(event.turn)

    def _started(self, event: Event, data: TurnStarted) -> None:
        assert event.turn
        assert self.config
        turn = self.turns.get(event.turn)
        if turn is None:
            self.turn_count += 1
            turn = self.turns[event.turn] = Turn(event.turn, "queued", data.message, event.by)
        else:
            self.queue.remove(event.turn)
        turn.status, turn.started, turn.started_at = "open", data, event.position
        turn.config = self.config
        turn.timers[DEADLINE] = Timer(self.config.deadline, event.at)
        self.open = turn
        if turn.message is not None:
            content, attachments = turn.message.content, turn.message.attachments
            given = turn.message.given
            shown = text_size(content) if given is None else given.size
            entry = Entry(
                event.position,
                turn.id,
                None,
                None,
                "",
                content,
                text_digest(content),
                shown + shown_size(attachments),
                attachments=attachments,
                given=given,
            )
            self.entries.append(entry)
            self.said += entry.size
            self.images += entry.images

    def _asked(self, event: Event, data: ModelAsked) -> None:
        turn, key = self._turn(event)
        step = turn.steps.setdefault(key, Step(key, event.position))
        step.position, step.asked = event.position, data
        self.ledger.hold((turn.id, key, 1), data.participant, data.reserved)

    def _requested(self, event: Event, data: BudgetRequested) -> None:
        turn, key = self._turn(event)
        turn.steps[key] = Step(key, event.position, requested=data)
        self.ledger.hold((turn.id, key, 1), data.participant, data.amount)

    def _reasked(self, event: Event, data: ModelReasked) -> None:
        turn, key = self._turn(event)
        step = turn.steps[key]
        step.attempt = data.attempt
        if step.asked is not None:
            attempt = (turn.id, key, data.attempt)
            self.ledger.hold(attempt, step.asked.participant, step.asked.reserved)

    def _settled(self, event: Event, data: ModelAnswered | ModelFailed | ModelDiscarded) -> None:
        turn, key = self._turn(event)
        step = turn.steps[key]
        if step.asked is not None:
            cost = data.cost.amount if data.cost else None
            step.paid[data.attempt] = cost or ZERO
            self.ledger.settle((turn.id, key, data.attempt), step.asked.participant, cost)

    def _answered(self, event: Event, data: ModelAnswered) -> None:
        step = self._outcome(event, data)
        self._settled(event, data)
        if step.asked and step.asked.public and data.text and step.answer is not None:
            self._say(event, step.asked.participant, data.text)

    def _say(self, event: Event, speaker: str, text: Text) -> None:
        turn, key = self._turn(event)
        assert turn.config
        assert turn.started
        participant = turn.config.participant(speaker)
        label = participant.label if participant else speaker
        entry = Entry(
            event.position, turn.id, key, speaker, label, text, text_digest(text), text_size(text)
        )
        self.said += entry.size
        if turn.started.retry is None:
            self.entries.append(entry)
        else:
            self._say_instead(entry)

    def _say_instead(self, entry: Entry) -> None:
        """Put a retry's answer behind the one that it replaces, or at its turn's end."""
        origin = self.origin(entry.turn)
        place, older = len(self.entries), None
        for index, old in enumerate(self.entries):
            if self.origin(old.turn) != origin:
                continue
            if old.participant == entry.participant and old.superseded_at is None:
                place, older = index + 1, old
            elif older is None:
                place = index + 1
        if older is not None:
            older.superseded_at = entry.position
        self.entries.insert(place, entry)
        self.revision += 1

    def origin(self, turn: str) -> str:
        """The turn that a chain of retries goes back to; the turn itself where it is no retry."""
        started = self.turns[turn].started
        while started is not None and started.retry is not None:
            turn = started.retry.turn
            started = self.turns[turn].started
        return turn

    def _timer_set(self, event: Event, data: TimerSet) -> None:
        turn, key = self._turn(event)
        turn.steps[key] = Step(key, event.position)
        turn.timers[key] = Timer(data.seconds, event.at)

    def _timer_fired(self, event: Event, data: TimerFired) -> None:
        turn, key = self._turn(event)
        turn.timers.pop(key, None)
        if key != DEADLINE:
            self._outcome(event, data)

    def _drawn(self, event: Event, data: ChanceDrawn) -> None:
        turn, key = self._turn(event)
        turn.steps[key] = Step(key, event.position)
        self._outcome(event, data)

    def _failed(self, event: Event, data: ModelFailed) -> None:
        self._outcome(event, data)
        if not data.unheard:
            self._settled(event, data)

    def _reserved(self, event: Event, data: BudgetReserved | BudgetRefused) -> None:
        turn, key = self._turn(event)
        turn.steps[key].reservation = data

    def _called_off(self, event: Event, data: ModelCancelled) -> None:
        self._give_back(self._outcome(event, data), event)

    def _overrun(self, event: Event, data: BudgetOverrun) -> None:
        turn, key = self._turn(event)
        turn.steps.setdefault(key, Step(key, event.position))
        self._give_back(self._outcome(event, data), event)

    def _give_back(self, step: Step, event: Event) -> None:
        """Hold nothing for a call that was not made, and never will be."""
        if step.requested is not None and step.asked is None:
            attempt = (event.turn or "", step.key, 1)
            self.ledger.settle(attempt, step.requested.participant, None)

    def _run_started(self, event: Event, data: RunStarted) -> None:
        turn, key = self._turn(event)
        turn.steps[key] = Step(key, event.position, run=data)
        turn.run = RunState(data.framework)

    def _run_restarted(self, event: Event, data: RunRestarted) -> None:
        turn, key = self._turn(event)
        assert turn.run
        turn.run.attempt = turn.steps[key].attempt = data.attempt

    def _run_call(self, event: Event, data: RunAsked | RunCalled | RunMatched) -> None:
        turn, key = self._turn(event)
        assert turn.run
        turn.run.call(data.attempt, data.digest, key, event.command)

    def _run_ended(self, event: Event, data: RunCompleted | RunFailed | RunCancelled) -> None:
        self._outcome(event, data)

    def _tool(self, event: Event, data: tool_steps.ToolEvent) -> None:
        turn, key = self._turn(event)
        tool_steps.fold(turn, key, event.position, data)
        deadline = turn.timers.get(DEADLINE)
        if deadline is None or self.status == "paused":
            return
        if turn.asks_person:
            deadline.stop(event.at)
        else:
            deadline.armed_at = deadline.armed_at or event.at

    def _warned(self, event: Event, data: BudgetWarned) -> None:
        self.ledger.warned.add((data.participant, data.limit, data.share))

    def _outcome(self, event: Event, data: Outcome) -> Step:
        turn, key = self._turn(event)
        step = turn.steps[key]
        step.outcome, step.outcome_position = data, event.position
        return step

    def _turn(self, event: Event) -> tuple[Turn, str]:
        assert event.turn
        assert event.step
        return self.turns[event.turn], event.step

    def _discarded(self, event: Event, data: ModelDiscarded) -> None:
        assert event.turn
        assert event.step
        self.discarded.add((event.turn, event.step, data.attempt))
        self._settled(event, data)
        self.turns[event.turn].discarded_at = event.position

    def _decided(self, event: Event, data: RouteDecided) -> None:
        if data.participants:
            self.last_speaker = data.participants[-1]

    def _ended(self, event: Event, data: TurnCompleted | TurnFailed | TurnCancelled) -> None:
        assert event.turn
        turn = self.turns[event.turn]
        if turn.status == "queued":
            self.queue.remove(turn.id)
        if self.open is turn:
            self.open = None
        turn.status = _STATUS[type(data)]
        turn.end, turn.ended_at = data, event.position
        turn.timers.clear()


_STATUS: dict[type[Payload], TurnStatus] = {
    TurnCompleted: "completed",
    TurnFailed: "failed",
    TurnCancelled: "cancelled",
}

_FOLDS: dict[type[Payload], Callable[[Session, Event, Any], None]] = {
    SessionCreated: Session._created,
    SessionReconfigured: Session._reconfigured,
    SessionPaused: Session._paused,
    SessionResumed: Session._resumed,
    SessionClosed: Session._closed,
    TurnQueued: Session._queued,
    TurnStarted: Session._started,
    TurnCompleted: Session._ended,
    TurnFailed: Session._ended,
    TurnCancelled: Session._ended,
    TimerSet: Session._timer_set,
    TimerFired: Session._timer_fired,
    ChanceDrawn: Session._drawn,
    ModelAsked: Session._asked,
    ModelReasked: Session._reasked,
    ModelAnswered: Session._answered,
    ModelFailed: Session._failed,
    ModelCancelled: Session._called_off,
    ModelDiscarded: Session._discarded,
    BudgetOverrun: Session._overrun,
    BudgetRequested: Session._requested,
    BudgetReserved: Session._reserved,
    BudgetRefused: Session._reserved,
    BudgetWarned: Session._warned,
    RouteDecided: Session._decided,
    **dict.fromkeys(TOOL_PAYLOADS, Session._tool),
    RunStarted: Session._run_started,
    RunRestarted: Session._run_restarted,
    **dict.fromkeys((RunAsked, RunCalled, RunMatched), Session._run_call),
    **dict.fromkeys((RunCompleted, RunFailed, RunCancelled), Session._run_ended),
}
