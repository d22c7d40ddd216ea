"""The schedule of a replayed workflow: which call is meant, and when its outcome is due."""

from __future__ import annotations

import pytest

from events.envelope import Event
from events.runs import RunAsked, RunCalled, RunCompleted, RunFailed
from events.tools import ToolReturned
from events.types import ModelFailed, Payload
from events.values import Blob, Parameters
from projections.rerun import RecordedRun, RunDiverged, Schedule, compare_end
from tests.event_samples import NOON, answered, asked

A, B = "a" * 64, "b" * 64
END = RunCompleted(attempt=1, output="done", result="{}", duration_ms=1.0)


def asks(digest: str, participant: str = "ada") -> RunAsked:
    given = Blob.of(b"[]")
    return RunAsked(
        attempt=1, participant=participant, given=given, parameters=Parameters(), digest=digest
    )


def recorded(*happened: tuple[str, Payload]) -> RecordedRun:
    events = [
        Event("night-shift", at, NOON, "user:ada", data, turn="t1", step=step)
        for at, (step, data) in enumerate(happened, 3)
    ]
    return RecordedRun.of(events, "t1")


def test_identical_calls_get_their_outcomes_in_the_recorded_order() -> None:
    late, early = answered("late"), answered("early")
    run = recorded(
        ("ask:ada:1", asks(A)), ("ask:ada:2", asks(A)), ("ask:ada:2", early), ("ask:ada:1", late)
    )
    schedule = Schedule(run)
    first = schedule.call(A, "ada is asked")
    assert (first.step, first.outcome) == ("ask:ada:1", late)
    second = schedule.call(A, "ada is asked")
    assert (second.step, second.outcome) == ("ask:ada:2", early)
    assert not schedule.due(first)
    assert schedule.due(second)
    schedule.release(second)
    assert schedule.due(first)


def test_an_outcome_waits_for_the_calls_that_were_made_before_it() -> None:
    run = recorded(
        ("ask:ada:1", asks(A)),
        ("call:clock__now:1", RunCalled(attempt=1, name="clock__now", arguments="{}", digest=B)),
        ("ask:ada:1", answered()),
        ("call:clock__now:1", ToolReturned(attempt=1, text="noon", duration_ms=1.0)),
        ("run:langchain:1", END),
    )
    schedule = Schedule(run)
    asked = schedule.call(A, "ada is asked")
    assert not schedule.due(asked)
    assert schedule.left() == ("clock__now is called",)
    called = schedule.call(B, "clock__now is called")
    assert schedule.due(asked)
    assert not schedule.due(called)
    schedule.release(asked)
    assert schedule.due(called)
    assert schedule.left() == ()
    assert run.end == END


def test_a_call_that_the_log_does_not_have_is_told_with_what_it_has() -> None:
    schedule = Schedule(recorded(("ask:ada:1", asks(A)), ("ask:ada:1", answered())))
    with pytest.raises(RunDiverged, match=r"bob is asked.*the log has next 'ada is asked'"):
        schedule.call(B, "bob is asked")
    schedule.call(A, "ada is asked")
    with pytest.raises(RunDiverged, match=r"more than 1 times: the log has next no further call"):
        schedule.call(A, "ada is asked")


def test_a_failure_is_an_outcome_like_any_other() -> None:
    failed = ModelFailed(attempt=1, error="RateLimited", message="slow", retryable=True, tries=1)
    schedule = Schedule(recorded(("ask:ada:1", asks(A)), ("ask:ada:1", failed)))
    call = schedule.call(A, "ada is asked")
    assert call.outcome == failed
    assert schedule.due(call)


def test_what_a_fallback_answers_is_the_outcome_of_the_call() -> None:
    failed = ModelFailed(attempt=1, error="RateLimited", message="slow", retryable=True, tries=1)
    stand_in = asked().model_copy(update={"instead_of": "ask:ada:1", "fallback": 1})
    run = recorded(
        ("ask:ada:1", asks(A)),
        ("ask:ada:1", failed),
        ("ask:ada:2", stand_in),
        ("ask:ada:3", asks(B)),
        ("ask:ada:2", answered()),
    )
    schedule = Schedule(run)
    call = schedule.call(A, "ada is asked")
    assert call.outcome == answered()
    assert not schedule.due(call)
    schedule.call(B, "ada is asked")
    assert schedule.due(call)


def test_a_call_that_was_cut_off_by_the_end_is_never_due() -> None:
    schedule = Schedule(recorded(("ask:ada:1", asks(A)), ("run:langchain:1", END)))
    assert not schedule.due(schedule.call(A, "ada is asked"))


FAILED = RunFailed(attempt=1, error="WorkflowFailed", message="no agent", retryable=False)


@pytest.mark.parametrize(
    ("recorded", "end", "said"),
    [
        (None, END, "no end of this run"),
        (FAILED, END, "the recorded run failed, and this one gave"),
        (END, FAILED, "this one failed: no agent"),
        (FAILED, FAILED.model_copy(update={"message": "else"}), "failed otherwise: no agent"),
        (END, END.model_copy(update={"output": "else"}), "another output"),
        (END, END.model_copy(update={"result": "[]"}), "another result"),
    ],
)
def test_another_end_is_a_divergence(
    recorded: RunCompleted | RunFailed | None, end: RunCompleted | RunFailed, said: str
) -> None:
    compare_end(end, end.model_copy(update={"duration_ms": 7.0} if end is END else {}))
    with pytest.raises(RunDiverged, match=said):
        compare_end(recorded, end)
