"""What a message would cost: likely, and at most."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from events.errors import Refused
from events.prices import Prices, Rates
from events.types import ModelAsked
from events.values import Message
from projections.calls import Past
from projections.estimate import USUAL_ANSWER, Estimate, Known, Range, estimate
from tests.sessions import Driven

LONGEST = 100
PRICES = Prices(
    table="list-1", rates=Rates(input=Decimal(1), output=Decimal(10)), request=Decimal("0.5")
)
FACT = {"prices": PRICES.model_dump(mode="json"), "structured_output": True}
KNOWN = Known(PRICES, structured_output=True)


def driven(pattern: str = "broadcast", names: str = "abc", **changes: Any) -> Driven:
    """A session whose calls reserve what they can cost at most."""
    models = [
        {
            "id": name,
            "provider": "test",
            "model_name": f"m-{name}",
            "role": name.upper(),
            "max_tokens": LONGEST,
        }
        for name in names
    ]
    settings: dict[str, Any] = {"models": models, "routing_pattern": pattern, "budget": 10**6}
    if pattern == "coordinator":
        settings["coordinator"] = names[0]
    return Driven(facts=dict.fromkeys(names, FACT), **settings | changes)


def estimated(room: Driven, content: str = "Hello", **known: Known) -> Estimate:
    every = {one.id: KNOWN for one in room.config.models} | known
    return estimate(room.log, Message(content=content), every, room.blobs.load)


def play(room: Driven) -> None:
    """Everyone says as much as they may; plans name everyone, ballots the first other one."""
    while room.waiting:
        key = room.waiting[0]
        asked = room.asked(key)
        ids = [one.id for one in room.config.models]
        other = next(id for id in [*ids, ""] if id != asked.participant)
        text = {
            "plan": json.dumps({"participants": ids, "reason": "all"}),
            "vote": json.dumps({"choice": other, "reason": "good"}),
        }.get(asked.purpose, "x" * LONGEST)
        room.answer(key, text, cost=None)


def likely(report: Estimate) -> dict[str, int]:
    return {one.participant: one.calls.likely for one in report.participants}


def most(report: Estimate) -> dict[str, int | None]:
    return {one.participant: one.calls.most for one in report.participants}


@pytest.mark.parametrize(
    ("pattern", "changes", "calls", "bounds"),
    [
        ("broadcast", {}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}),
        ("coordinator", {}, {"a": 2, "b": 1, "c": 1}, {"a": 3, "b": 1, "c": 1}),
        ("round_robin", {}, {"a": 1}, {"a": 1}),
        ("round_robin", {"rounds": 2}, {"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 2}),
        ("voting", {}, {"a": 2, "b": 2, "c": 2}, {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_the_most_is_what_the_turn_reserves_when_everyone_says_all_they_may(
    pattern: str, changes: dict[str, Any], calls: dict[str, int], bounds: dict[str, int]
) -> None:
    room = driven(pattern, **changes)
    report = estimated(room, "What shall we do?")
    assert likely(report) == calls
    assert most(report) == bounds
    room.post("What shall we do?")
    play(room)
    asked: list[ModelAsked] = room.data(ModelAsked)
    assert len(asked) == report.calls.most == sum(bounds.values())
    assert report.cost.most == sum(one.reserved or 0 for one in asked)
    for one in report.participants:
        reserved = sum(each.reserved or 0 for each in asked if each.participant == one.participant)
        assert one.cost
        assert one.cost.most == reserved
        assert one.output_tokens.most == LONGEST * len(
            [each for each in asked if each.participant == one.participant]
        )


def test_the_conversation_so_far_is_counted_for_who_is_next() -> None:
    room = driven("round_robin")
    for text in ("one", "two"):
        room.post(text)
        play(room)
    report = estimated(room, "three")
    assert list(likely(report)) == ["c"]
    room.post("three")
    assert report.cost.most == room.last(ModelAsked).reserved


def test_a_likely_answer_is_the_median_of_past_ones() -> None:
    room = driven(names="ab", history="isolated")
    past = {"answer": Past(7, 60, 2.0), "vote": Past(9, 3, 1.0)}
    by_hour = Prices(table="hours", hour=Decimal(3600))
    report = estimated(room, "x" * 401, a=Known(PRICES, past=past), b=Known(by_hour))
    a, b = report.participants
    assert (a.observations, b.observations) == (7, 0)
    # 401 characters are 101 tokens.
    assert a.input_tokens.likely == 101
    assert a.output_tokens == Range(likely=60, most=LONGEST)
    assert a.cost
    assert a.cost.likely == (101 * 1 + 60 * 10) / Decimal(1_000_000) + Decimal("0.5")
    assert b.output_tokens.likely == LONGEST < USUAL_ANSWER
    assert b.cost
    assert b.cost.likely == 10, "as many seconds as a usual answer takes"
    assert b.cost.most == 600, "the turn's deadline"
    assert report.cost.likely == a.cost.likely + b.cost.likely
    assert [one.prices for one in report.participants] == ["list-1", "hours"]


def test_what_has_no_price_and_what_has_no_bound_are_said() -> None:
    models = [{"id": id, "provider": "test", "model_name": id} for id in "ab"]
    room = driven("round_robin", models=models, rounds=1)
    report = estimated(room, a=Known(PRICES), b=Known(None, context_length=2000))
    a, b = report.participants
    assert a.output_tokens == Range(likely=USUAL_ANSWER, most=None)
    assert a.input_tokens.most is not None
    assert b.output_tokens.most == 2000
    assert b.input_tokens.most is None, "it is shown an answer without bound"
    assert a.cost
    assert a.cost.most is None
    assert b.cost is None
    assert report.unpriced == ("b",)
    assert report.cost.likely == a.cost.likely
    assert report.cost.most is None


def test_a_script_is_not_run_and_has_no_bound() -> None:
    room = driven("script", script="odds:route", budget=None)
    report = estimated(room)
    assert likely(report) == {"a": 1, "b": 1, "c": 1}
    assert report.calls.most is None
    assert report.cost.most is None
    assert "script" in report.rule


def test_what_the_budgets_leave_while_a_turn_is_open() -> None:
    models = [
        {"id": id, "provider": "test", "model_name": id, "max_tokens": 100, "budget": "1.25"}
        for id in "ab"
    ]
    room = driven(models=models, budget=5)
    room.post("one")
    reserved = room.asked("ask:b:1").reserved
    assert reserved
    room.answer("ask:a:1", cost={"amount": "0.7", "prices": "list-1"})
    before = list(room.log)
    report = estimated(room, "two")
    assert report.budget
    assert (report.budget.spent, report.budget.held) == (Decimal("0.7"), reserved)
    assert report.budget.left == 5 - Decimal("0.7") - reserved
    a, b = (one.budget for one in report.participants)
    assert a
    assert (a.limit, a.spent, a.left) == (Decimal("1.25"), Decimal("0.7"), Decimal("0.55"))
    assert a.held == 0
    assert b
    assert b.left == Decimal("1.25") - reserved
    # Asked it is all the same: a budget that has too little left is for who reads this to judge.
    assert report.calls.likely == 2
    assert report.position == len(before)
    assert room.log == before


def test_a_paused_session_is_estimated_and_a_closed_one_refused() -> None:
    room = driven()
    room.post("one")
    room.pause()
    assert estimated(room).calls.likely == 3
    room.close()
    with pytest.raises(Refused, match="closed"):
        estimated(room)


def test_a_session_that_is_none_yet() -> None:
    room = driven("voting")
    every = {one.id: KNOWN for one in room.config.models}
    before = estimate(room.config, Message(content="Hello"), every, room.blobs.load)
    after = estimated(room)
    assert before == after.model_copy(update={"position": 0})


def test_what_was_attached_before_counts() -> None:
    room = driven(names="a")
    notes = room.blobs.attach("notes.md", b"word " * 100, "text/markdown")
    room.post("Look", notes, room.blobs.attach("a.png", b"picture", "image/png"))
    play(room)
    report = estimated(room, "And now?")
    assert 2500 + 500 // 4 < report.input_tokens.likely < 2500 + 500 // 4 + 100
    room.post("And now?")
    assert report.cost.most == room.last(ModelAsked).reserved


def test_a_conversation_that_is_too_long_is_likely_trimmed() -> None:
    room = driven(names="a")
    room.post("word " * 4000)
    play(room)
    whole = estimated(room)
    small = estimated(room, a=Known(PRICES, context_length=1000))
    assert whole.input_tokens.likely > 5000
    assert small.input_tokens.likely < 100
    assert small.input_tokens.most == whole.input_tokens.most
