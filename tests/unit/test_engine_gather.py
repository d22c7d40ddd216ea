"""The turn engine: branches that run at once, and their values."""

from __future__ import annotations

from typing import Any

from actors.routing.turn import Turn
from tests.unit.router_run import Run, faulted, text


def test_gather_gives_values_in_the_order_of_its_arguments() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.gather(text(turn.ask("a")), text(turn.ask("b")), text(turn.ask("c")))

    run = Run(route)
    for name in "cab":
        run.answer(name, text=name.upper())
    assert run.value == ("A", "B", "C")


def test_gather_of_nothing_is_done() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.gather()

    assert Run(route).started == "end"


def test_gather_stops_no_sibling_and_raises_when_all_are_done() -> None:
    async def bad(turn: Turn) -> None:
        await turn.ask("a")
        raise ValueError("first")

    async def good(turn: Turn) -> None:
        await turn.ask("b")
        turn.decide(["b"], "b goes on")
        await turn.ask("b")

    async def worse(turn: Turn) -> None:
        await turn.ask("c")
        raise KeyError("second")

    async def route(turn: Turn) -> str:
        try:
            await turn.gather(bad(turn), good(turn), worse(turn))
        except ValueError as error:
            return f"caught {error}"
        return "nothing was raised"

    run = Run(route)
    assert run.answer("c") == ""
    assert run.answer("a") == ""
    assert run.answer("b") == "decided(b goes on) ask:b:2"
    assert run.answer("b", 2) == "end"
    assert run.value == "caught first"  # in the order of the arguments, not of time


def test_branches_start_in_order_and_run_after_their_parent_waits() -> None:
    async def child(turn: Turn, name: str) -> None:
        turn.decide([name], name)
        await turn.ask(name)

    async def route(turn: Turn) -> None:
        both = turn.gather(child(turn, "a"), child(turn, "b"))
        turn.decide(["c"], "parent")
        await both

    assert Run(route).started == "decided(parent) decided(a) ask:a:1 decided(b) ask:b:1"


def test_five_tool_loops_run_at_once() -> None:
    async def loop(turn: Turn, name: str) -> str:
        said = await text(turn.ask(name))
        while said == "more":
            said = await text(turn.ask(name))
        return said

    async def route(turn: Turn) -> Any:
        return await turn.gather(*(loop(turn, p.id) for p in turn.participants))

    run = Run(route)
    assert run.answer("c", text="more") == "ask:c:2"
    assert run.answer("a", text="A") == ""
    assert run.answer("c", 2, text="more") == "ask:c:3"
    for name in "bde":
        assert run.answer(name, text=name.upper()) == ""
    assert run.answer("c", 3, text="C") == "end"
    assert run.value == ("A", "B", "C", "D", "E")


def test_the_same_coroutine_cannot_be_given_twice() -> None:
    async def child(turn: Turn) -> None:
        await turn.ask("a")

    async def at_once(turn: Turn) -> None:
        one = child(turn)
        await turn.gather(one, one)

    async def later(turn: Turn) -> None:
        one = child(turn)
        turn.gather(one)
        await turn.ask("b")
        await turn.gather(one)

    assert "given to gather or first twice" in faulted(Run(at_once))
    run = Run(later)
    run.answer("b")
    assert "given to gather or first twice" in run.fault
