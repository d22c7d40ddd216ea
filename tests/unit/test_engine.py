"""The turn engine runs a router exactly as it says, and nothing else makes it move."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from actors.routing.allowance import CALLS_PER_STEP, NESTING
from actors.routing.engine import TurnEngine
from actors.routing.steps import (
    Answer,
    Cancelled,
    Decided,
    Emission,
    Emitted,
    Ended,
    Failure,
)
from actors.routing.turn import Facts, Turn
from events.errors import RouterFault
from events.types import RouteDecided
from tests.sessions import config

Router = Callable[[Turn], Coroutine[Any, Any, Any]]


class Run:
    """A router under the engine; what it emits is told in short."""

    def __init__(self, route: Router, *, max_steps: int = 50) -> None:
        self.engine = TurnEngine(max_steps)
        self.turn = Turn(
            self.engine,
            id="t1",
            message="Hello",
            config=config("abcde"),
            facts=Facts(),
            last_speaker=None,
        )
        self.end: Ended | None = None
        self.started = self._short(self.engine.start(route(self.turn)))

    def answer(self, participant: str, n: int = 1, text: str = "yes") -> str:
        key = f"ask:{participant}:{n}"
        return self.feed(key, Answer(participant, key, text))

    def fail(self, participant: str, n: int = 1) -> str:
        key = f"ask:{participant}:{n}"
        return self.feed(key, Failure(participant, key, "Down", "it is down"))

    def feed(self, key: str, outcome: Any = None) -> str:
        return self._short(self.engine.feed(key, outcome))

    def close(self) -> str:
        return self._short(self.engine.close())

    @property
    def value(self) -> Any:
        assert self.end is not None
        assert self.end.fault is None
        return self.end.value

    @property
    def fault(self) -> str:
        assert self.end is not None
        assert self.end.fault is not None
        return f"{type(self.end.fault).__name__}: {self.end.fault}"

    def _short(self, emissions: list[Any]) -> str:
        return " ".join(map(self._one, emissions))

    def _one(self, emission: Emission) -> str:
        match emission:
            case Emitted(step):
                return step.key
            case Cancelled(key, reason):
                return f"{reason}({key})"
            case Decided(decision):
                assert isinstance(decision, RouteDecided)
                return f"decided({decision.reason})"
            case Ended():
                assert self.end is None
                self.end = emission
                return "end"


async def text(pending: Any) -> str:
    outcome = await pending
    return outcome.text if isinstance(outcome, Answer) else outcome.error


# --- steps -----------------------------------------------------------------------------------


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


# --- gather ----------------------------------------------------------------------------------


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


# --- first -----------------------------------------------------------------------------------


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


# --- the end ---------------------------------------------------------------------------------


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


# --- faults ----------------------------------------------------------------------------------


def faulted(run: Run) -> str:
    assert run.started == "end" or run.started.endswith(" end")
    return run.fault


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
