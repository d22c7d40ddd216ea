"""Replaying a workflow: its run starts again, and its calls get what the log has.

A call is found by its digest and occurrence: the k-th call of a digest is the k-th recorded one.
An outcome is released when everything has happened that the log has before it, calls and releases
alike, so calls that run at the same time see each other's effects as they did then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from events.envelope import Event
from events.errors import ControlRoomError
from events.runs import RunAsked, RunCalled, RunCompleted, RunFailed
from events.tools import ApprovalDenied, ToolCancelled, ToolFailed, ToolRefused, ToolReturned
from events.types import BudgetOverrun, ModelAnswered, ModelAsked, ModelCancelled, ModelFailed

CallOutcome = (
    ModelAnswered
    | ModelFailed
    | ModelCancelled
    | BudgetOverrun
    | ToolReturned
    | ToolFailed
    | ToolRefused
    | ToolCancelled
    | ApprovalDenied
)
"""What comes of a run's call."""


class RunDiverged(ControlRoomError):
    """The workflow does not do again what the log holds."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call of the run, and what came of it; a call that the run's end cut off has no outcome."""

    step: str
    digest: str
    position: int
    what: str
    """For people: who was asked, or which tool was called."""
    outcome: CallOutcome | None = None
    outcome_position: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as the log has it: its calls in their order, and its end."""

    calls: tuple[RecordedCall, ...]
    end: RunCompleted | RunFailed | None

    @classmethod
    def of(cls, events: Iterable[Event], turn: str) -> RecordedRun:
        """The run of that turn, from the events of its session."""
        asked: dict[str, RecordedCall] = {}
        outcomes: dict[str, tuple[CallOutcome, int]] = {}
        stands_for: dict[str, str] = {}
        end: RunCompleted | RunFailed | None = None
        for event in events:
            if event.turn != turn or event.step is None:
                continue
            match event.data:
                case RunAsked(digest=digest, participant=participant):
                    what = f"{participant} is asked"
                    asked[event.step] = RecordedCall(event.step, digest, event.position, what)
                case RunCalled(digest=digest, name=name):
                    what = f"{name} is called"
                    asked[event.step] = RecordedCall(event.step, digest, event.position, what)
                case RunCompleted() | RunFailed() as data:
                    end = data
                case ModelAsked(instead_of=str() as failed):
                    stands_for[event.step] = stands_for.get(failed, failed)
                case ModelCancelled(reason="turn_ended") | ToolCancelled(reason="turn_ended"):
                    pass  # whoever called was told nothing any more
                case data if isinstance(data, CallOutcome):
                    # A fallback's outcome is that of the call, which then has not failed.
                    step = stands_for.get(event.step, event.step)
                    outcomes[step] = (data, event.position)
        calls = (
            RecordedCall(
                one.step, one.digest, one.position, one.what, *outcomes.get(one.step, (None, None))
            )
            for one in asked.values()
        )
        return cls(tuple(calls), end)


@dataclass(slots=True)
class Schedule:
    """Says which recorded call a call is, and when its outcome may be released.

    Pure bookkeeping: whoever waits asks `due` again after each `call` and `release`.
    """

    run: RecordedRun
    _steps: dict[str, list[RecordedCall]] = field(init=False)
    _made: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _waits: dict[int, str] = field(init=False)
    """What has not happened yet, by the position of its event: calls and releases."""

    def __post_init__(self) -> None:
        self._steps = defaultdict(list)
        self._waits = {}
        for one in self.run.calls:
            self._steps[one.digest].append(one)
            self._waits[one.position] = one.what
            if one.outcome_position is not None:
                self._waits[one.outcome_position] = f"{one.what}: the outcome"

    def call(self, digest: str, what: str) -> RecordedCall:
        """The recorded call that this one is; raises `RunDiverged` where there is none."""
        calls, made = self._steps.get(digest, []), self._made[digest]
        if made >= len(calls):
            raise RunDiverged(
                f"{what}, with a request that the log does not have"
                + (f" more than {made} times" if made else "")
                + f": the log has next {self._next()}"
            )
        self._made[digest] += 1
        self._waits.pop(calls[made].position, None)
        return calls[made]

    def made(self, step: str) -> RecordedCall | None:
        """The recorded call of that step, which was made again; None where there is none."""
        found = next((one for one in self.run.calls if one.step == step), None)
        if found is not None:
            self._waits.pop(found.position, None)
        return found

    def due(self, call: RecordedCall) -> bool:
        """Whether everything has happened that the log has before the outcome of `call`."""
        at = call.outcome_position
        return at is not None and all(position >= at for position in self._waits)

    def release(self, call: RecordedCall) -> None:
        """The outcome of `call` is told."""
        if call.outcome_position is not None:
            self._waits.pop(call.outcome_position, None)

    def left(self) -> tuple[str, ...]:
        """The recorded calls that were not made, in order."""
        calls = {call.position for call in self.run.calls}
        return tuple(what for at, what in sorted(self._waits.items()) if at in calls)

    def first(self) -> str:
        """What has to happen before anything else does."""
        return next((what for _, what in sorted(self._waits.items())), "nothing")

    @property
    def exhausted(self) -> bool:
        """Whether everything has happened that the log has: every call, and every outcome told."""
        return not self._waits

    def _next(self) -> str:
        left = self.left()
        return f"{left[0]!r}" if left else "no further call"


def compare_end(recorded: RunCompleted | RunFailed | None, end: RunCompleted | RunFailed) -> None:
    """Raise `RunDiverged` where a run that ended again ended otherwise than in the log."""
    match recorded, end:
        case None, _:
            raise RunDiverged("the log has no end of this run to compare with")
        case RunCompleted(), RunFailed(message=message):
            raise RunDiverged(f"the recorded run gave a result, and this one failed: {message}")
        case RunFailed(message=message), RunCompleted():
            raise RunDiverged(f"the recorded run failed, and this one gave a result: {message}")
        case RunFailed(error=error, message=message), RunFailed() if (error, message) != (
            end.error,
            end.message,
        ):
            raise RunDiverged(f"the recorded run failed otherwise: {message}")
        case RunCompleted(output=output), RunCompleted() if output != end.output:
            raise RunDiverged("the run gave another output than the log has")
        case RunCompleted(result=result), RunCompleted() if result != end.result:
            raise RunDiverged("the run gave the same output, and another result than the log has")
        case _:
            pass
