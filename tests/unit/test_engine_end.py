"""The turn engine: what is cancelled when a router returns or is closed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from actors.routing.engine import TurnEngine
from actors.routing.turn import Turn
from events.errors import RouterFault
from tests.unit.router_run import Run, text


def test_what_is_open_at_the_end_is_cancelled() -> None:
    async def child(turn: Turn) -> None:
        await turn.ask("b")

    async def route(turn: Turn) -> str:
        turn.gather(child(turn))
        turn.ask("a")
        await turn.ask("c")
        return "done"

    run = Run(route)
    assert run.answer("c") == "turn_ended(ask:a:1) turn_ended(ask:b:1) end"
    assert run.answer("a") == ""
    assert run.close() == ""


def test_races_that_are_open_at_the_end_are_not_decided() -> None:
    async def route(turn: Turn) -> None:
        turn.first(turn.gather(turn.ask("a")), turn.ask("b"))
        await turn.ask("c")

    assert Run(route).answer("c") == "turn_ended(ask:a:1) turn_ended(ask:b:1) end"


def test_the_return_is_the_end_whatever_other_branches_want() -> None:
    async def child(turn: Turn) -> None:
        turn.decide(["a"], "too late")
        await turn.ask("a")

    async def route(turn: Turn) -> str:
        turn.gather(child(turn))
        return "done"

    run = Run(route)
    assert run.started == "end"
    assert run.value == "done"


def test_close_stops_the_router_and_cancels_every_open_step_once() -> None:
    closed: list[str] = []

    async def child(turn: Turn, name: str) -> None:
        try:
            await turn.ask(name)
        finally:
            closed.append(name)

    async def route(turn: Turn) -> None:
        try:
            await turn.gather(child(turn, "a"), child(turn, "b"), turn.ask("c"))
        finally:
            closed.append("route")

    run = Run(route)
    run.answer("b")
    assert run.close() == "turn_ended(ask:c:1) turn_ended(ask:a:1)"
    assert closed == ["b", "a", "route"]
    assert run.close() == ""
    assert run.answer("a") == ""
    assert run.end is None


def test_close_before_the_start() -> None:
    assert TurnEngine(5).close() == []


@pytest.mark.parametrize("swallow", [False, True])
def test_a_router_that_is_closed_emits_nothing_more(swallow: bool) -> None:
    async def route(turn: Turn) -> None:
        try:
            await turn.ask("a")
        finally:
            for attempt in (lambda: turn.ask("b"), turn.draw, lambda: turn.timer(1)):
                try:
                    attempt()
                except RouterFault:
                    if not swallow:
                        raise
            turn.decide(["b"], "too late")
            turn.gather(turn.ask("c"), text(turn.ask("d")))

    run = Run(route)
    assert run.close() == "turn_ended(ask:a:1)"
    assert run.engine.open_steps == ()


def test_a_loser_that_wants_more_while_it_is_closed_is_a_fault() -> None:
    async def child(turn: Turn) -> None:
        try:
            await turn.ask("a")
        finally:
            await turn.ask("b")

    async def route(turn: Turn) -> Any:
        return await turn.first(child(turn), turn.ask("c"))

    run = Run(route)
    assert run.answer("c") == "race_lost(ask:a:1) end"
    assert "could not be closed: a router that was closed may do nothing more" in run.fault


def test_a_loser_that_will_not_close_is_a_fault() -> None:
    let_go = False

    async def child(turn: Turn) -> None:
        while not let_go:
            with suppress(BaseException):
                await turn.ask("a")

    async def route(turn: Turn) -> Any:
        return await turn.first(child(turn), turn.ask("c"))

    run = Run(route)
    assert run.answer("c") == "race_lost(ask:a:1) end"
    assert "could not be closed: RuntimeError: coroutine ignored GeneratorExit" in run.fault
    let_go = True  # so that collecting the coroutine can close it


def test_a_fault_while_the_rest_is_closed_does_not_undo_the_return() -> None:
    async def child(turn: Turn) -> None:
        try:
            await turn.ask("a")
        finally:
            raise SystemExit(3)

    async def route(turn: Turn) -> str:
        turn.gather(child(turn))
        await turn.ask("b")
        return "done"

    run = Run(route)
    assert run.answer("b") == "turn_ended(ask:a:1) end"
    assert run.value == "done"
