"""The session machine: decisions that a pause holds back, and that come too late when it ends."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.routing.turn import Turn
from events.budgets import BudgetOverrun, BudgetRefused, BudgetRequested, BudgetReserved
from events.tools import ApprovalDenied, ApprovalGranted
from events.types import TurnCompleted
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import RISK, facts
from tests.unit.scripted import scripted
from tests.unit.test_machine_workflow import Run

CALL = f"call:{RISK}:1"
DECISIONS = (ApprovalGranted(), ApprovalDenied())


async def race(turn: Turn) -> Any:
    """A model against a call that a person has to allow."""
    return await turn.first(turn.ask("a", tools=False), turn.call(RISK, {}))


async def race_and_more(turn: Turn) -> Any:
    await race(turn)
    return await turn.ask("b", tools=False)


def racing(route: Any) -> Driven:
    """A paused session with tools in which the model has won and a person decides as well."""
    blobs = Blobs()
    room = scripted(route, facts=facts(blobs, "ab"), blobs=blobs)
    room.post()
    room.pause()
    room.answer("ask:a:1")
    return room


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("end", [Driven.resume, Driven.close])
def test_a_turn_that_ends_with_what_was_held_back_needs_no_decision(
    decision: Any, end: Any
) -> None:
    room = racing(race)
    room.give(decision, by="user:ada", turn="t1", step=CALL)
    told = end(room)
    assert told.split()[0] in ("session.resumed", "session.closed")
    assert told.endswith("turn.completed")
    assert "tool.called" not in told
    room.prove()


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_call_that_was_cancelled_meanwhile_is_not_made(decision: Any) -> None:
    room = racing(race_and_more)
    room.give(decision, by="user:ada", turn="t1", step=CALL)
    told = room.resume()
    assert told.endswith("model.asked(ask:b:1)")
    assert "tool.called" not in told
    room.answer("ask:b:1")
    room.prove()


def test_a_run_that_ends_in_a_pause_makes_no_call_that_is_allowed_then() -> None:
    room = Run(approval=True)
    room.post()
    key, _ = room.carry_out(room.call())
    room.pause()
    room.completes("done")
    room.give(ApprovalGranted(), by="user:ada", turn="t1", step=key)
    assert room.resume() == f"session.resumed tool.cancelled({key}) turn.completed"
    assert room.last(TurnCompleted).answer == "done"
    room.prove()


def paid_race(engine: int) -> Driven:
    """A paused race of two whose account has still to decide on the second."""

    async def route(turn: Turn) -> Any:
        await turn.first(turn.ask("a"), turn.ask("b"))
        return await turn.timer(1)

    prices = {"table": "test", "rates": {"input": "1", "output": "1"}}
    known: dict[str, Any] = {n: {"prices": prices, "context_length": 1000} for n in "ab"}
    known["@account"] = {"stream": "account:user:ada:2026-03-01", "limit": "5"}
    models = [one.model_dump(mode="json") | {"max_tokens": 10} for one in config("ab").models]
    room = scripted(route, facts=known, engine=engine, models=models)
    assert room.post().endswith("budget.requested(ask:a:1) budget.requested(ask:b:1)")
    decide(room, "a", BudgetReserved)
    room.pause()
    room.answer("ask:a:1")
    return room


def decide(room: Driven, name: str, kind: type[BudgetReserved | BudgetRefused]) -> None:
    step = f"ask:{name}:1"
    requested = next(event.data for event in room.log if event.step == step)
    assert isinstance(requested, BudgetRequested)
    decision = kind(
        account=requested.account,
        session=room.stream,
        turn="t1",
        step=step,
        attempt=1,
        amount=requested.amount,
        limit=requested.limit,
        spent=Decimal(0),
        held=Decimal(0),
    )
    room.give(decision, by=requested.account, turn="t1", step=step)


@pytest.mark.parametrize("kind", [BudgetReserved, BudgetRefused])
def test_a_step_that_was_cancelled_meanwhile_is_not_paid_for(kind: Any) -> None:
    room = paid_race(3)
    decide(room, "b", kind)
    assert room.resume() == "session.resumed model.cancelled(ask:b:1) timer.set(timer:timer:1)"
    assert room.data(BudgetOverrun) == []
    assert room.machine.session.ledger.held("b") == 0
    room.fire("timer:timer:1")
    room.prove()


def test_sessions_of_older_engines_go_on_as_they_are_recorded() -> None:
    room = paid_race(2)
    decide(room, "b", BudgetReserved)
    assert room.resume() == (
        "session.resumed model.cancelled(ask:b:1) timer.set(timer:timer:1) model.asked(ask:b:1)"
    )
    room.replay()
