"""The turn engine: what a router does wrong ends it and is named."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from actors.routing.allowance import CALLS_PER_STEP
from actors.routing.pending import NESTING
from actors.routing.turn import Turn
from tests.unit.router_run import Run, faulted, text


def test_an_exception_of_the_router_ends_it() -> None:
    async def route(turn: Turn) -> None:
        turn.ask("a")
        raise LookupError("nowhere")

    run = Run(route)
    assert run.started == "ask:a:1 turn_ended(ask:a:1) end"
    assert run.fault == "LookupError: nowhere"


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_would_end_a_process_ends_the_router(error: type[BaseException]) -> None:
    async def child(turn: Turn) -> None:
        await turn.ask("a")
        raise error

    async def route(turn: Turn) -> None:
        await turn.gather(child(turn), turn.ask("b"))

    run = Run(route)
    assert run.answer("a") == "turn_ended(ask:b:1) end"
    assert run.fault == f"RouterFault: the router raised {error.__name__}"


async def test_awaiting_something_foreign_names_it() -> None:
    async def sleeps(turn: Turn) -> None:
        await asyncio.sleep(1)

    async def yields(turn: Turn) -> None:
        await asyncio.sleep(0)

    async def waits(turn: Turn) -> None:
        await asyncio.get_running_loop().create_future()

    async def in_a_branch(turn: Turn) -> None:
        await turn.gather(yields(turn), turn.ask("a"))

    async def gathers(turn: Turn) -> None:
        await turn.gather(text(turn.ask("a")), asyncio.get_running_loop().create_future())

    async def races(turn: Turn) -> None:
        await turn.first(turn.ask("a"), 5)  # type: ignore[arg-type]

    assert "awaited _asyncio.Future: it may await only" in faulted(Run(sleeps))
    assert "awaited builtins.NoneType: it may" in faulted(Run(yields))
    assert "awaited _asyncio.Future: it may" in faulted(Run(waits))
    assert "awaited builtins.NoneType: it may" in faulted(Run(in_a_branch))
    assert "awaited _asyncio.Future: it may" in faulted(Run(gathers))
    assert "awaited builtins.int: it may" in faulted(Run(races))


def test_waiting_for_what_can_never_happen_is_a_fault() -> None:
    async def route(turn: Turn) -> None:
        async def child() -> None:
            await waits_for_itself

        await turn.ask("a")
        waits_for_itself = turn.gather(child())
        await waits_for_itself

    run = Run(route)
    assert run.answer("a") == "end"
    assert run.fault == "RouterFault: the router waits for something that can never happen"


def test_the_step_limit_cannot_be_swallowed() -> None:
    swallowed: list[str] = []
    let_go = False

    async def careful(turn: Turn) -> None:
        while True:
            try:
                await turn.ask("a")
            except Exception as error:
                swallowed.append(str(error))

    async def stubborn(turn: Turn) -> None:
        while not let_go:
            try:
                await turn.ask("a")
            except BaseException as error:
                swallowed.append(type(error).__name__)

    for route in (careful, stubborn):
        run = Run(route, max_steps=3)
        assert [run.answer("a", n) for n in (1, 2, 3)] == ["ask:a:2", "ask:a:3", "end"]
        assert run.fault.startswith("StepLimit: the router wanted more than 3 steps: raise")
        assert run.engine.open_steps == ()
    assert swallowed == ["StepLimit", "GeneratorExit", "RouterFault"]
    let_go = True  # so that collecting the coroutine can close it


def test_steps_at_once_count_each() -> None:
    async def route(turn: Turn) -> None:
        await turn.gather(*(turn.ask("a") for _ in range(4)))

    run = Run(route, max_steps=3)
    assert run.started == (
        "ask:a:1 ask:a:2 ask:a:3 turn_ended(ask:a:1) turn_ended(ask:a:2) turn_ended(ask:a:3) end"
    )
    assert "more than 3 steps" in run.fault


def test_decisions_combinations_and_branches_are_limited_too() -> None:
    async def decides(turn: Turn) -> None:
        while True:
            turn.decide(["a"], "again")

    async def gathers(turn: Turn) -> None:
        while True:
            await turn.gather()

    async def recurses(turn: Turn) -> None:
        await turn.gather(recurses(turn))

    async def widens(turn: Turn) -> None:
        async def nothing() -> None:
            return

        while True:
            await turn.gather(nothing(), nothing())

    async def deepens(turn: Turn) -> None:
        pending: Any = turn.ask("a")
        while True:
            pending = turn.gather(pending)

    assert "recorded more than 4 decisions" in faulted(Run(decides, max_steps=2))
    assert f"did more than {CALLS_PER_STEP} things" in faulted(Run(gathers, max_steps=2))
    assert f"branches are nested deeper than {NESTING}" in faulted(Run(recurses, max_steps=2))
    assert f"did more than {CALLS_PER_STEP} things" in faulted(Run(widens, max_steps=2))
    assert f"nested deeper than {NESTING}" in faulted(Run(deepens, max_steps=2))


def test_branches_that_cannot_be_taken_are_closed() -> None:
    async def child(turn: Turn) -> None:
        await turn.ask("a")

    async def route(turn: Turn) -> None:
        await turn.gather(child(turn), child(turn), "nothing to await")  # type: ignore[arg-type]

    assert "awaited builtins.str" in faulted(Run(route))
    gc.collect()  # a coroutine that was never awaited would warn now


def test_a_keyboard_interrupt_is_for_the_person_at_the_keyboard() -> None:
    async def route(turn: Turn) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(route)
