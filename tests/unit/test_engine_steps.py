"""The turn engine emits steps as the router calls them, and nothing else makes it move."""

from __future__ import annotations

from typing import Any

from actors.routing.turn import Turn
from tests.unit.router_run import Run, text


def test_a_step_is_emitted_when_it_is_called_not_when_it_is_awaited() -> None:
    async def route(turn: Turn) -> list[str]:
        first, second = turn.ask("a"), turn.ask("b")
        return [await text(second), await text(first)]

    run = Run(route)
    assert run.started == "ask:a:1 ask:b:1"
    assert run.engine.open_steps == ("ask:a:1", "ask:b:1")
    assert run.answer("a", text="A") == ""
    assert run.answer("b", text="B") == "end"
    assert run.value == ["B", "A"]


def test_an_outcome_that_comes_before_anyone_awaits_it_is_kept() -> None:
    async def route(turn: Turn) -> list[str]:
        early = turn.ask("a")
        late = await text(turn.ask("b"))
        return [late, await text(early), await text(early)]

    run = Run(route)
    assert run.answer("a", text="A") == ""
    assert run.answer("b", text="B") == "end"
    assert run.value == ["B", "A", "A"]


def test_keys_count_each_pair_of_kind_and_target() -> None:
    async def route(turn: Turn) -> None:
        pending: list[Any] = [
            turn.ask("a"),
            turn.ask("b"),
            turn.ask("a"),
            turn.timer(1),
            turn.timer(2, "x"),
        ]
        pending += [turn.draw(), turn.draw("x"), turn.draw()]
        await turn.gather(*pending)

    assert Run(route).started == (
        "ask:a:1 ask:b:1 ask:a:2 timer:timer:1 timer:x:1 draw:chance:1 draw:x:1 draw:chance:2"
    )


def test_values_of_timers_and_draws() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.gather(turn.draw(), turn.timer(5))

    run = Run(route)
    assert run.feed("draw:chance:1", 17) == ""
    assert run.feed("timer:timer:1") == "end"
    assert run.value == (17, None)


def test_outcomes_nobody_waits_for_change_nothing() -> None:
    async def route(turn: Turn) -> str:
        return await text(turn.ask("a"))

    run = Run(route)
    assert run.answer("b") == ""
    assert run.answer("a", 2) == ""
    assert run.answer("a") == "end"
    assert run.answer("a") == ""
    assert run.value == "yes"


def test_decisions_stand_among_the_steps_in_their_order() -> None:
    async def route(turn: Turn) -> None:
        turn.decide(["a"], "one")
        await turn.ask("a")
        turn.decide(["b"], "two")

    run = Run(route)
    assert run.started == "decided(one) ask:a:1"
    assert run.fail("a") == "decided(two) end"


def test_a_router_that_asks_nothing_ends_at_once() -> None:
    async def route(turn: Turn) -> str:
        return turn.message

    run = Run(route)
    assert run.started == "end"
    assert run.value == "Hello"
