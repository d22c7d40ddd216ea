"""What is told of a run, from its events alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.deciding import NotFound
from events.config import Fallback
from events.tools import ApprovalDenied, ApprovalGranted, ElicitationRequested
from events.types import ModelDiscarded
from events.values import Cost, Usage
from projections.run_steps import SHOWN, RunStep
from projections.runs import RunView, run_view
from tests.sessions import answered
from tests.tool_calls import ADD, broken, returned
from tests.unit.test_machine_workflow import RUN, A, B, Run


def view(room: Run, **more: Any) -> RunView:
    """The run as it is now."""
    return run_view("s1", "langchain", room.log[1:], "t1", room.blobs.load, **more)


def step(room: Run, key: str) -> RunStep:
    return next(one for one in view(room).steps if one.step == key)


def happens(room: Run, data: Any, key: str) -> None:
    room.give(data, turn="t1", step=key)


def test_a_run_is_told_while_it_goes_on_and_at_its_end() -> None:
    room = Run()
    room.post('{"topic": "tea"}')
    assert (view(room).status, view(room).steps) == ("running", ())
    room.carry_out(room.command())
    assert (step(room, "ask:a:1").status, step(room, "ask:a:1").cost) == ("running", None)
    assert view(room, paused=True).status == "paused"
    room.answer("ask:a:1", "x" * (SHOWN + 1))
    asked = step(room, "ask:a:1")
    assert (asked.status, asked.participant, asked.provider) == ("answered", "a", "test")
    assert asked.text == "x" * SHOWN + "…"
    assert (asked.usage, asked.cost) == (Usage(input=10, output=5), Decimal("0.0015"))
    room.completes("Tea is fine.")
    told = view(room, title="Tea")
    assert (told.status, told.output, told.result) == ("completed", "Tea is fine.", {})
    assert (told.inputs, told.title, told.run_id) == ('{"topic": "tea"}', "Tea", "s1")
    assert told.totals.calls == 1
    with pytest.raises(NotFound):
        run_view("s1", "langchain", room.log, "t2", room.blobs.load)


def test_what_does_not_count_is_paid_all_the_same() -> None:
    room = Run()
    room.post()
    room.carry_out(room.command())
    room.carry_out(room.command(participant="b", digest=B))
    room.cancel("t1")
    cost = Cost(amount=Decimal("0.25"), prices="test")
    discarded = ModelDiscarded(attempt=1, reason="cancelled", usage=Usage(output=7), cost=cost)
    happens(room, discarded, "ask:a:1")
    happens(room, discarded.model_copy(update={"cost": None}), "ask:b:1")
    told = view(room)
    assert (told.status, [one.status for one in told.steps]) == ("cancelled", ["cancelled"] * 2)
    assert told.steps[0].cost == told.totals.cost == Decimal("0.25")
    assert told.totals.usage == Usage(output=14)
    assert told.totals.unpriced == 1


def test_a_call_waits_for_a_person_and_is_allowed_or_not() -> None:
    room = Run(approval=True)
    room.post()
    for _ in range(2):
        room.carry_out(room.call())
    first, second = f"call:{ADD}:1", f"call:{ADD}:2"
    waits = step(room, first)
    assert view(room).status == waits.status == "waiting for a person"
    assert (waits.kind, waits.name, waits.server, waits.arguments) == (
        "tool",
        ADD,
        "calc",
        '{"n": 2}',
    )
    assert [one.question for one in waits.questions] == [""]
    happens(room, ApprovalGranted(), first)
    assert (step(room, first).status, step(room, first).questions) == ("running", ())
    happens(room, ApprovalDenied(reason="too dear"), second)
    denied = step(room, second)
    assert (denied.status, denied.message) == ("denied", "too dear")
    assert view(room).status == "running"
    happens(room, ElicitationRequested(attempt=1, id="q1", message="Which year?"), first)
    assert [(one.question, one.message) for one in step(room, first).questions] == [
        ("q1", "Which year?")
    ]
    assert view(room).status == "waiting for a person"
    happens(room, returned("", structured='{"sum": 4}'), first)
    gave = step(room, first)
    assert (gave.status, gave.text, gave.duration_ms) == ("returned", '{"sum": 4}', 1.5)


def test_calls_of_tools_that_come_to_nothing_say_why() -> None:
    room = Run()
    room.post()
    for _ in range(2):
        room.carry_out(room.call())
    room.carry_out(room.call("nonsense"))
    happens(room, broken(), f"call:{ADD}:1")
    happens(room, returned("no such number", is_error=True), f"call:{ADD}:2")
    steps = view(room).steps
    assert [one.status for one in steps] == ["failed", "failed", "refused"]
    assert steps[0].message == "its server is down"
    assert steps[1].text == "no such number"
    assert steps[2].name == "nonsense"
    assert steps[2].message


def test_attempts_are_told_and_what_each_made() -> None:
    room = Run()
    room.post()
    room.carry_out(room.command())
    room.answer("ask:a:1", "so")
    room.restarts()
    room.carry_out(room.command(attempt=2))
    room.carry_out(room.command(attempt=2))
    told = view(room)
    assert [(one.attempt, one.reason) for one in told.attempts] == [(1, ""), (2, "it died")]
    assert [one.attempts for one in told.steps] == [(1, 2), (2,)]
    assert RUN not in [one.step for one in told.steps]


def test_a_fallback_is_a_step_of_its_own_that_says_so() -> None:
    seat = {"id": "a", "provider": "test", "model_name": "m-a"}
    models = [seat | {"fallbacks": [Fallback(provider="test", model_name="m-z").model_dump()]}]
    room = Run(models=models)
    room.post()
    room.carry_out(room.command(digest=A))
    room.fail("ask:a:1")
    told = view(room).steps
    assert [one.status for one in told] == ["failed", "running"]
    assert (told[1].instead_of, told[1].participant, told[1].model) == ("ask:a:1", "a", "m-z")
    calls = answered("", tool_calls=({"id": "1", "name": "look", "arguments": "{}"},))
    happens(room, calls, told[1].step)
    assert [(one.name, one.arguments) for one in view(room).steps[1].tool_calls] == [("look", "{}")]
