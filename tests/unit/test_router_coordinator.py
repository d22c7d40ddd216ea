"""What a coordinator decides, also where it fails or writes nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from actors.routing.coordinator import plan_schema
from events.types import RouteDecided, TurnCompleted, TurnFailed
from tests.sessions import Driven
from tests.unit.structured_answers import plan


def coordinated(**changes: Any) -> Driven:
    room = Driven(routing_pattern="coordinator", coordinator="a", **changes)
    assert room.post() == "turn.started model.asked(ask:a:1)"
    return room


def test_coordinator_plans_asks_and_joins() -> None:
    room = coordinated()
    asked = room.asked("ask:a:1")
    assert (asked.purpose, asked.public) == ("plan", False)
    assert "- b: B\n" in str(asked.instruction)
    assert room.answer("ask:a:1", plan(["c", "b"])) == (
        "model.answered(ask:a:1) route.decided model.asked(ask:c:1) model.asked(ask:b:1)"
    )
    decided = room.last(RouteDecided)
    assert (decided.participants, decided.reason, decided.fallback) == (
        ("c", "b"),
        "they know",
        None,
    )
    room.answer("ask:b:1")
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) model.asked(ask:a:2)"
    assert room.asked("ask:a:2").purpose == "synthesis"
    assert room.answer("ask:a:2", "both") == "model.answered(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:a:2"


def test_the_synthesis_sees_the_answers_and_no_plan() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b", "c"]))
    room.answer("ask:b:1", "from b")
    room.answer("ask:c:1", "from c")
    _, messages = room.request("ask:a:2")
    assert [role for role, _ in messages] == ["system", "user"]
    assert messages[1][1].startswith("Hello\n\n[B (b)]: from b\n\n[C (c)]: from c\n\nNow answer")
    assert "they know" not in messages[1][1]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('Here you are:\n```json\n{"participants": ["C"], "reason": "x"}\n```\nGood luck!', ["c"]),
        ('{"note": "thinking"} {"participants": ["b"]}', ["b"]),
        ('{"plan": {"participants": ["b"], "reason": null}}', ["b"]),
        (plan("c"), ["c"]),
        (plan(["c", "c", "b", "C (c)"]), ["c", "b"]),
        (plan(["nobody", "b", 7, None]), ["b"]),
        (plan(["[B]", "`c`"]), ["b", "c"]),
        (plan(["a"]), ["a"]),
    ],
)
def test_coordinator_reads_forgivingly(text: str, chosen: Sequence[str]) -> None:
    room = coordinated()
    room.answer("ask:a:1", text)
    decided = room.last(RouteDecided)
    assert decided.participants == tuple(chosen)
    assert decided.fallback is None


@pytest.mark.parametrize(
    ("text", "fallback"),
    [
        ("I would ask everybody, I think.", "the plan is not JSON"),
        ("", "the plan is not JSON"),
        ('["b", "c"]', "the plan is not JSON"),
        ('{"participants": ["b"', "the plan is not JSON"),
        ('{"participants": ["b"], "reason": "\\ud800"}', "the plan is not JSON"),
        ("{" * 100_000, "the plan is not JSON"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "the plan is not JSON"),
        (plan([]), "the plan names no participant"),
        (plan(["nobody", "everyone"]), "the plan names no participant"),
        (plan({"b": 1}), "the plan names no participant"),
        (plan(None), "the plan names no participant"),
        ('{"reason": "no list"}', "the plan names no participant"),
    ],
)
def test_a_plan_that_cannot_be_used_falls_back_to_everyone_else(text: str, fallback: str) -> None:
    room = coordinated()
    told = room.answer("ask:a:1", text)
    assert told.endswith("route.decided model.asked(ask:b:1) model.asked(ask:c:1)")
    decided = room.last(RouteDecided)
    assert decided.participants == ("b", "c")
    assert decided.fallback == fallback


def test_a_reason_of_any_length_and_kind_can_be_recorded() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b"], "x" * 100_000))
    assert room.last(RouteDecided).reason == "x" * 1000
    room.cancel()
    room.post()
    room.answer("ask:a:1", plan(["b"], {"not": "a text"}))
    assert room.last(RouteDecided).reason == ""


def test_a_coordinator_that_fails_is_replaced_by_the_rule() -> None:
    room = coordinated()
    room.fail("ask:a:1")
    assert room.last(RouteDecided).fallback == "the coordinator failed: ProviderUnavailable"
    room.answer("ask:b:1")
    room.answer("ask:c:1")
    assert room.fail("ask:a:2") == "model.failed(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from is None  # two answers, and nobody to join them


def test_one_answer_needs_no_joining() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b", "c"]))
    room.fail("ask:b:1")
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:c:1"


def test_a_coordinated_turn_nobody_answers_fails() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b"]))
    assert room.fail("ask:b:1") == "model.failed(ask:b:1) turn.failed"
    assert room.last(TurnFailed).reason == "nobody_answered"  # a plan is no answer


def test_a_coordinator_may_name_itself_and_is_asked_twice() -> None:
    room = coordinated()
    assert "model.asked(ask:a:2)" in room.answer("ask:a:1", plan(["a", "b"]))
    room.answer("ask:a:2", "mine")
    assert room.answer("ask:b:1", "theirs").endswith("model.asked(ask:a:3)")
    _, messages = room.request("ask:a:3")
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]


def test_a_coordinator_alone_answers_alone() -> None:
    room = Driven(names="a", routing_pattern="coordinator", coordinator="a")
    room.post()
    assert room.answer("ask:a:1", "nonsense").endswith("route.decided model.asked(ask:a:2)")
    room.answer("ask:a:2")
    assert room.last(TurnCompleted).answer_from == "ask:a:2"


def test_a_plan_is_asked_for_as_structured_output_where_the_model_can() -> None:
    able = coordinated(facts={"a": {"structured_output": True}})
    assert able.asked("ask:a:1").parameters.schema_ == plan_schema(["a", "b", "c"])
    other = coordinated(facts={"a": {"structured_output": False}, "b": {"structured_output": True}})
    assert other.asked("ask:a:1").parameters.schema_ is None
