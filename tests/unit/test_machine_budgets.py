"""The session machine: budgets of a session and of its participants."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.receiving import reask
from events.config import Budget
from events.prices import Prices, Rates
from events.types import (
    BudgetOverrun,
    BudgetWarned,
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    TurnFailed,
)
from events.values import Cost, Usage
from tests.sessions import Driven, answered, config

DOLLAR = Rates(input=Decimal(1_000_000), output=Decimal(1_000_000))
"""A dollar a token."""
PRICES = Prices(table="test", rates=DOLLAR)


def spent(dollars: str | int) -> dict[str, Any]:
    return {"cost": Cost(amount=Decimal(dollars), prices="test")}


def under(budget: Any, names: str = "ab", max_tokens: int = 100, **changes: Any) -> Driven:
    """A session whose calls can cost a dollar a token."""
    fact = {"prices": PRICES.model_dump(mode="json"), "context_length": 1000}
    models = [one.model_dump(mode="json") for one in config(names).models]
    for one in models:
        one.update({"max_tokens": max_tokens, "history": "isolated"}, **changes.pop(one["id"], {}))
    return Driven(
        facts=dict.fromkeys(names, fact), **({"models": models, "budget": budget} | changes)
    )


def test_the_most_that_a_call_can_cost_is_held_until_it_has_its_outcome() -> None:
    room = under(1000, "a")
    room.post("Hello")
    # Five bytes of the message and 64 around it, and at most 100 tokens of the answer.
    assert room.asked("ask:a:1").reserved == 5 + 64 + 100
    ledger = room.machine.session.ledger
    assert ledger.held(None) == ledger.held("a") == 169
    assert ledger.spent(None) == 0
    room.answer("ask:a:1", **spent("12.5"))
    assert ledger.held(None) == ledger.held("a") == 0
    assert ledger.spent(None) == ledger.spent("a") == Decimal("12.5")
    room.prove()


def test_a_step_that_the_budget_does_not_allow_is_not_sent() -> None:
    room = under(200, "ab")
    assert room.post("Hello") == ("turn.started model.asked(ask:a:1) budget.exceeded(ask:b:1)")
    over = room.last(BudgetOverrun)
    assert (over.scope, over.participant) == ("session", "b")
    assert (over.spent, over.held, over.needed, over.limit) == (0, 169, 169, 200)
    assert room.waiting == ("ask:a:1",)
    assert room.answer("ask:a:1", **spent(60)).endswith("turn.completed")
    assert (
        room.post("Again")
        == "turn.started budget.exceeded(ask:a:1) budget.exceeded(ask:b:1) turn.failed"
    )
    message = room.last(TurnFailed).message
    assert "the session's budget of $200 does not allow the call: $60 are spent" in message
    assert "raise the budget" in message
    room.prove()


def test_what_costs_more_than_was_held_is_counted_in_full_and_stops_what_follows() -> None:
    """A vendor may serve a dearer model than was asked for."""
    room = under(200, "a")
    room.post("Hello")
    room.answer("ask:a:1", **spent(250))
    ledger = room.machine.session.ledger
    assert ledger.spent(None) == 250
    assert ledger.held(None) == 0
    assert room.last(BudgetWarned).spent == 250
    assert room.post("Again") == "turn.started budget.exceeded(ask:a:1) turn.failed"
    room.prove()


def test_a_participant_s_own_budget_stops_that_one_alone() -> None:
    room = under(None, "ab", a={"budget": {"limit": "100"}})
    assert room.post("Hello") == "turn.started budget.exceeded(ask:a:1) model.asked(ask:b:1)"
    assert room.last(BudgetOverrun).scope == "participant"
    assert room.asked("ask:b:1").reserved is None, "nothing limits the other"
    room.answer("ask:b:1", **spent(3))
    assert room.machine.session.ledger.spent("b") == 3
    room.prove()


def test_shares_that_are_reached_are_warned_of_once() -> None:
    room = under({"limit": 1000, "warn_at": ["0.5", "0.1"]}, "a")
    room.post()
    assert room.answer("ask:a:1", **spent(99)) == "model.answered(ask:a:1) turn.completed"
    room.post()
    assert room.answer("ask:a:1", **spent(1)) == (
        "model.answered(ask:a:1) budget.warned turn.completed"
    )
    warned = room.last(BudgetWarned)
    assert (warned.share, warned.spent, warned.limit) == (Decimal("0.1"), 100, 1000)
    room.post()
    assert "budget.warned" not in room.answer("ask:a:1", **spent(1))
    room.reconfigure(budget={"limit": 3000, "warn_at": ["0.1", "0.5"]})
    room.post()
    assert room.answer("ask:a:1", **spent(1500)).count("budget.warned") == 2, "of the new limit"
    room.prove()


def test_what_failed_and_what_came_too_late_is_paid_for() -> None:
    room = under(10_000, "ab")
    room.post("Hello")
    room.give(ModelReasked(attempt=2, reason="silence"), turn="t1", step="ask:a:1")
    ledger = room.machine.session.ledger
    assert ledger.held("a") == 2 * 169, "the first attempt may be answered and paid for yet"
    room.answer("ask:a:1", attempt=2, **spent(10))
    assert ledger.held("a") == 169
    assert ledger.spent("a") == 10
    late = ModelDiscarded(attempt=1, reason="duplicate", **spent(20))
    room.give(late, turn="t1", step="ask:a:1")
    assert ledger.held("a") == 0
    assert ledger.spent("a") == 30
    room.cancel()
    assert ledger.held("b") == 169, "until the model says what it had cost"
    called_off = ModelDiscarded(attempt=1, reason="cancelled", **spent(5))
    room.give(called_off, turn="t1", step="ask:b:1")
    assert ledger.held(None) == 0
    assert ledger.spent(None) == 35
    room.prove()


def test_a_silent_call_is_asked_again_only_where_the_budget_allows_both() -> None:
    room = under(300, "a")
    room.post("Hello")
    [again] = reask(room.machine.session, key=(room.stream, "t1", "ask:a:1"), attempt=1).givens
    assert isinstance(again.data, ModelFailed)
    assert again.data.error == "BudgetExceeded"
    assert "nothing was heard" in again.data.message
    room.give(again.data, turn="t1", step="ask:a:1")
    ledger = room.machine.session.ledger
    assert ledger.held("a") == 169, "it may have been answered and paid for"
    room.give(ModelDiscarded(attempt=1, reason="duplicate", **spent(7)), turn="t1", step="ask:a:1")
    assert ledger.held("a") == 0
    assert ledger.spent("a") == 7
    room.prove()


UNBOUNDED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no-price": ({"prices": None}, {}, "no price is known"),
    "no-end": ({"context_length": None}, {"max_tokens": None}, "nothing bounds its answer"),
    "not-told": ({"context_length": None, "max_tokens": False}, {}, "nothing bounds its answer"),
    "extra": ({}, {"extra": {"n": 50}}, "'extra' holds 'n'"),
    "other-length": ({}, {"extra": {"max_completion_tokens": 9999}}, "max_completion_tokens"),
}


@pytest.mark.parametrize(("fact", "wish", "words"), UNBOUNDED.values(), ids=UNBOUNDED.keys())
def test_what_nobody_can_bound_is_not_sent_under_a_budget(
    fact: dict[str, Any], wish: dict[str, Any], words: str
) -> None:
    known = {"prices": PRICES.model_dump(mode="json"), "context_length": 1000} | fact
    seat = config("a").models[0].model_dump(mode="json") | {"max_tokens": 10} | wish
    room = Driven(facts={"a": known}, models=[seat], budget=1000)
    assert room.post() == "turn.started budget.exceeded(ask:a:1) turn.failed"
    assert words in room.last(TurnFailed).message
    room.prove()
    free = Driven(facts={"a": known}, models=[seat])
    assert free.post() == "turn.started model.asked(ask:a:1)", "nothing limits it"


def test_what_is_free_is_sent_under_a_budget() -> None:
    free = {"prices": Prices(table="own machine").model_dump(mode="json"), "context_length": None}
    wish = {"extra": {"n": 50}}
    seat = config("a").models[0].model_dump(mode="json") | wish
    room = Driven(facts={"a": free}, models=[seat], budget=1)
    assert room.post() == "turn.started model.asked(ask:a:1)"


def test_extra_that_is_sent_is_counted() -> None:
    room = under(1000, "a", a={"extra": {"metadata": {"x": "y" * 50}}})
    room.post("Hello")
    assert room.asked("ask:a:1").reserved == 5 + 64 + 100 + len('{"metadata":{"x":""}}') + 50


def test_which_tools_are_called_is_no_matter_of_a_budget() -> None:
    room = under(1000, "a", a={"extra": {"tool_choice": "required"}})
    assert room.post("Hello") == "turn.started model.asked(ask:a:1)"


@pytest.mark.parametrize("plain", [5, "5", 5.0, {"limit": "5"}])
def test_a_budget_may_be_a_plain_number(plain: Any) -> None:
    assert Budget.model_validate(plain) == Budget(limit=Decimal(5))


@pytest.mark.parametrize("wrong", [0, -1, "a lot", True, None, {"limit": 5, "warn_at": [1]}])
def test_a_budget_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"limit|warn_at|valid"):
        Budget.model_validate(wrong)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_comes_in_any_order_no_more_is_spent_than_the_budget(data: st.DataObject) -> None:
    """Calls cost anything up to what they can; some are asked again, answered twice, called off."""
    limit = data.draw(st.integers(1, 2000), "limit")
    own = data.draw(st.integers(1, 1000), "of a")
    room = under(limit, "abc", a={"budget": own}, routing_pattern="round_robin", rounds=2)
    calls: dict[tuple[str, str, int], tuple[str, Decimal]] = {}
    told = 0
    for _ in range(data.draw(st.integers(1, 40), "inputs")):
        for event in room.log[told:]:
            if isinstance(event.data, ModelAsked):
                assert event.data.reserved is not None
                calls[event.turn or "", event.step or "", 1] = (
                    event.data.participant, event.data.reserved
                )  # fmt: skip
        told = len(room.log)
        session = room.machine.session
        if session.open is None and data.draw(st.booleans(), "post"):
            room.post("Hello")
            continue
        if not calls:
            continue
        turn, step, attempt = data.draw(st.sampled_from(sorted(calls)), "call")
        participant, most = calls.pop((turn, step, attempt))
        cost = spent(data.draw(st.integers(0, int(most)), "cost"))
        now = session.turns[turn].steps[step]
        is_open = session.open is not None and session.open.id == turn and now.outcome is None
        if not is_open:
            room.give(
                ModelDiscarded(attempt=attempt, reason="duplicate", **cost), turn=turn, step=step
            )
            continue
        what = data.draw(st.sampled_from(["answer", "fail", "reask", "cancel"]), "what")
        if what == "answer":
            room.give(answered(attempt=attempt, **cost), turn=turn, step=step)
        elif what == "fail":
            failed = ModelFailed(
                attempt=attempt, error="BadResponse", message="cut", retryable=True, tries=1,
                usage=Usage(output=1), **cost,
            )  # fmt: skip
            room.give(failed, turn=turn, step=step)
        elif what == "cancel":
            calls[turn, step, attempt] = (participant, most)
            room.cancel(turn)
        else:
            key = (room.stream, turn, step)
            for again in reask(session, key=key, attempt=attempt).givens:
                room.give(again.data, turn=turn, step=step)
            if now.attempt > attempt:
                calls[turn, step, attempt + 1] = (participant, most)
            calls[turn, step, attempt] = (participant, most)
        ledger = session.ledger
        assert ledger.spent(None) + ledger.held(None) <= limit
        assert ledger.spent("a") + ledger.held("a") <= own
    paid = sum(
        event.data.cost.amount
        for event in room.log
        if isinstance(event.data, ModelAnswered | ModelFailed | ModelDiscarded) and event.data.cost
    )
    assert paid == room.machine.session.ledger.spent(None) <= limit
    room.prove()
