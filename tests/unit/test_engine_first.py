"""The turn engine: races, their winners, and what losers leave behind."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from actors.routing.steps import Failure
from actors.routing.turn import Turn
from tests.unit.router_run import Run, faulted, text


def test_first_takes_the_first_answer_and_cancels_the_losers() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.first(*(turn.ask(name) for name in "abc"))

    run = Run(route)
    assert run.fail("b") == ""
    assert run.answer("c", text="C") == "race_lost(ask:a:1) end"
    assert run.value.text == "C"
    assert run.answer("a") == ""


def test_first_of_failures_only_is_the_last_failure() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.first(*(turn.ask(name) for name in "abc"))

    run = Run(route)
    for name in "bca":
        assert run.engine.open_steps
        run.fail(name)
    assert run.value.participant == "a"


def test_a_loser_is_cancelled_with_all_its_branches_and_steps() -> None:
    log: list[str] = []

    async def grandchild(turn: Turn, name: str) -> None:
        try:
            turn.ask(name)
            await turn.ask(name)
        finally:
            log.append(name)

    async def child(turn: Turn) -> None:
        try:
            await turn.gather(grandchild(turn, "a"), grandchild(turn, "b"))
        finally:
            log.append("child")

    async def route(turn: Turn) -> Any:
        return await turn.first(child(turn), turn.ask("c"), turn.timer(10))

    run = Run(route)
    assert run.started == "ask:c:1 timer:timer:1 ask:a:1 ask:a:2 ask:b:1 ask:b:2"
    assert run.answer("c") == (
        "race_lost(ask:a:1) race_lost(ask:a:2) race_lost(ask:b:1) race_lost(ask:b:2) "
        "race_lost(timer:timer:1) end"
    )
    assert log == ["a", "b", "child"]


def test_a_combination_that_loses_is_cancelled_down_to_its_steps() -> None:
    async def child(turn: Turn) -> None:
        await turn.ask("e")

    async def route(turn: Turn) -> Any:
        slow = turn.gather(turn.ask("a"), turn.first(turn.ask("b"), turn.ask("c")), child(turn))
        return await turn.first(slow, turn.timer(5))

    run = Run(route)
    assert run.feed("timer:timer:1") == (
        "race_lost(ask:a:1) race_lost(ask:b:1) race_lost(ask:c:1) race_lost(ask:e:1) end"
    )


def test_who_awaits_a_loser_is_told() -> None:
    async def child(turn: Turn) -> str:
        return await text(turn.ask("b"))

    async def route(turn: Turn) -> Any:
        step, branch = turn.ask("a"), turn.gather(child(turn))
        winner = await turn.first(step, branch, turn.ask("c"))
        (lost,) = await branch
        return await text(step), lost.error, winner.participant

    run = Run(route)
    assert run.answer("c") == "race_lost(ask:a:1) race_lost(ask:b:1) end"
    assert run.value == ("Cancelled", "Cancelled", "c")


def test_a_member_that_is_done_wins_at_once_and_one_that_has_lost_may_lose_again() -> None:
    async def route(turn: Turn) -> Any:
        a, b, c = turn.ask("a"), turn.ask("b"), turn.ask("c")
        await a
        won = await turn.first(a, b)
        again = await turn.first(b, c)  # b has lost before: a failure, so c decides
        return won.participant, again.participant

    run = Run(route)
    assert run.answer("a") == "race_lost(ask:b:1)"
    assert run.answer("c") == "end"
    assert run.value == ("a", "c")


def test_losing_a_finished_branch_cancels_what_it_left_open() -> None:
    async def leaves(turn: Turn) -> Failure:
        turn.ask("a")  # nobody awaits it
        return Failure("a", "", "Gone", "gone")

    async def route(turn: Turn) -> Any:
        return await turn.first(leaves(turn), turn.ask("b"))

    run = Run(route)
    assert run.started == "ask:b:1 ask:a:1"
    assert run.answer("b") == "race_lost(ask:a:1) end"


def test_the_winner_keeps_what_it_left_open() -> None:
    async def wins(turn: Turn) -> str:
        turn.ask("a")
        return "won"

    async def route(turn: Turn) -> Any:
        won = await turn.first(wins(turn), turn.ask("b"))
        await turn.ask("c")
        return won

    run = Run(route)
    assert run.started == "ask:b:1 ask:a:1 race_lost(ask:b:1) ask:c:1"
    assert run.engine.open_steps == ("ask:a:1", "ask:c:1")
    assert run.answer("c") == "turn_ended(ask:a:1) end"


def test_a_branch_that_raises_wins_with_its_exception() -> None:
    async def raises(turn: Turn) -> None:
        await turn.ask("a")
        raise ValueError("mine")

    async def route(turn: Turn) -> str:
        try:
            await turn.first(raises(turn), turn.ask("b"))
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    run = Run(route)
    assert run.answer("a") == "race_lost(ask:b:1) end"
    assert run.value == "caught mine"


def test_a_branch_that_never_started_loses_without_a_trace() -> None:
    async def never(turn: Turn) -> None:
        turn.decide(["a"], "it ran")

    async def wins(turn: Turn) -> str:
        return "won"

    async def route(turn: Turn) -> Any:
        return await turn.first(wins(turn), never(turn))

    run = Run(route)
    assert run.started == "end"
    assert run.value == "won"


def test_races_within_races() -> None:
    async def pair(turn: Turn, left: str, right: str) -> Any:
        return await turn.first(turn.ask(left), turn.ask(right))

    async def route(turn: Turn) -> Any:
        return await turn.first(pair(turn, "a", "b"), pair(turn, "c", "d"))

    run = Run(route)
    assert run.fail("a") == ""
    assert run.fail("c") == ""
    assert run.fail("d") == ""
    assert run.answer("b") == "end"
    assert run.value.participant == "b"


def test_a_chain_of_races_that_decide_each_other_needs_no_depth() -> None:
    async def route(turn: Turn) -> Any:
        steps = [turn.ask("a") for _ in range(900)]
        races = [turn.first(turn.gather(one), other) for one, other in pairwise(steps)]
        return await turn.gather(*races)

    run = Run(route, max_steps=1000)
    run.answer("a", 1)
    assert len(run.value) == 899


def test_first_needs_somebody() -> None:
    async def route(turn: Turn) -> None:
        await turn.first()

    assert "first() needs something" in faulted(Run(route))
