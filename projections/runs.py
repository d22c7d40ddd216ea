"""A workflow's run as its turn's events tell it: its status, every call that it made, its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import Field

from actors.deciding import NotFound
from events.envelope import Event
from events.runs import RunCompleted, RunRestarted, RunStarted
from events.types import TurnCancelled, TurnCompleted, TurnFailed, TurnQueued, TurnStarted
from events.values import Usage, Value
from projections.answers import Load, TurnProblem
from projections.money import Money, total
from projections.run_steps import RunStep, Step, apply, read

WAITING = "waiting for a person"
RunStatus = Literal[
    "queued",
    "running",
    "waiting for a person",
    "paused",
    "completed",
    "failed",
    "cancelled",
]


class AttemptView(Value):
    """A start of the workflow; every one after the first says why."""

    attempt: int
    position: int
    at: datetime
    reason: str = ""


class RunTotals(Value):
    """What all calls together have used, those that do not count included."""

    calls: int
    usage: Usage
    cost: Money = Field(description="US dollars, of the calls that have a price")
    unpriced: int = Field(description="calls with tokens, but without a price")


class RunView(Value):
    """A run as of `position` of its session."""

    run_id: str
    session_id: str
    turn: str
    turns: tuple[str, ...] = Field(default=(), description="all of this run, the first one first")
    framework: str
    title: str | None
    status: RunStatus
    position: int
    started_at: datetime | None = None
    ended_at: datetime | None = None
    inputs: str = Field(description="what was posted")
    output: str | None = None
    result: Any = Field(default=None, description="all that the workflow gave")
    problem: TurnProblem | None = None
    steps: tuple[RunStep, ...] = ()
    attempts: tuple[AttemptView, ...] = ()
    totals: RunTotals
    versions: dict[str, str] = Field(default_factory=dict, description="of the framework")
    duration_ms: float | None = None


def run_view(
    session: str,
    framework: str,
    events: Sequence[Event],
    turn: str,
    load: Load,
    *,
    title: str | None = None,
    paused: bool = False,
    turns: Sequence[str] = (),
) -> RunView:
    """The run of `turn` after `events`, which begin with the turn's first.

    `load` is called for long texts only. Raises `NotFound` where the events hold no such turn.
    """
    fold = _Fold(load)
    for event in events:
        if event.turn == turn:
            fold.apply(event)
    if fold.status is None:
        raise NotFound(f"session {session!r} has no run {turn!r}")
    steps = tuple(step.view() for step in fold.steps.values())
    status = fold.status
    if status == "running" and any(step.status == WAITING for step in steps):
        status = "waiting for a person"
    elif status == "running" and paused:
        status = "paused"
    done = fold.completed
    return RunView(
        run_id=session,
        session_id=session,
        turn=turn,
        turns=tuple(turns),
        framework=framework,
        title=title,
        status=status,
        position=events[-1].position,
        started_at=fold.attempts[0].at if fold.attempts else None,
        ended_at=fold.ended_at,
        inputs=fold.inputs,
        output=None if done is None else read(done.output, load),
        result=None if done is None else orjson.loads(read(done.result, load)),
        problem=fold.problem,
        steps=steps,
        attempts=tuple(fold.attempts),
        totals=RunTotals(
            calls=len(steps),
            usage=sum((one for step in fold.steps.values() for one in step.used), Usage()),
            cost=total(one for step in fold.steps.values() for one in step.costs),
            unpriced=sum(step.unpriced for step in fold.steps.values()),
        ),
        versions={} if done is None else done.versions,
        duration_ms=None if done is None else done.duration_ms,
    )


class _Fold:
    """One run, picked out of its turn's events."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.status: RunStatus | None = None
        self.inputs = ""
        self.steps: dict[str, Step] = {}
        self.attempts: list[AttemptView] = []
        self.completed: RunCompleted | None = None
        self.problem: TurnProblem | None = None
        self.ended_at: datetime | None = None

    def apply(self, event: Event) -> None:
        match event.data:
            case TurnQueued(message=message):
                self.status, self.inputs = "queued", read(message.content, self._load)
            case TurnStarted(message=message):
                self.status = "running"
                if message is not None:
                    self.inputs = read(message.content, self._load)
            case RunStarted():
                self._attempt(event, 1)
            case RunRestarted(attempt=attempt, reason=reason):
                self._attempt(event, attempt, reason)
            case RunCompleted() as data:
                self.completed = data
            case TurnCompleted():
                self._end(event, "completed")
            case TurnFailed(reason=reason, message=why):
                self._end(event, "failed", TurnProblem(reason=reason, message=why))
            case TurnCancelled(reason=why):
                self._end(event, "cancelled", TurnProblem(reason="cancelled", message=why))
            case _ if event.step is not None:
                apply(self._step(event), event)

    def _attempt(self, event: Event, attempt: int, reason: str = "") -> None:
        self.attempts.append(
            AttemptView(attempt=attempt, position=event.position, at=event.at, reason=reason)
        )

    def _end(self, event: Event, status: RunStatus, problem: TurnProblem | None = None) -> None:
        self.status, self.problem, self.ended_at = status, problem, event.at

    def _step(self, event: Event) -> Step:
        assert event.step
        key = event.step
        if not key.startswith(("ask:", "call:")):  # a timer, or the run itself
            return Step(key, event.position, self._load)
        return self.steps.setdefault(key, Step(key, event.position, self._load))
