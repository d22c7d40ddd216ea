"""The session machine: what a router returns, raises and does wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.routing.batch import Given
from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn
from events.types import TurnCompleted, TurnFailed, TurnStarted
from events.values import SPILL, Blob, Message, Semantics
from tests.sessions import START
from tests.unit.scripted import scripted


def ends(route: Callable[[Turn], Any]) -> TurnCompleted | TurnFailed:
    """How a turn ends in which a and b answer `yes` to whatever they are asked."""
    room = scripted(route)
    room.post()
    while room.waiting:
        room.answer(room.waiting[0])
    room.prove()
    end = room.log[-1].data
    assert isinstance(end, TurnCompleted | TurnFailed)
    return end


def returning(make: Callable[[Answer], Any]) -> Callable[[Turn], Any]:
    async def route(turn: Turn) -> Any:
        outcome = await turn.ask("a")
        assert isinstance(outcome, Answer)
        return make(outcome)

    return route


def test_what_a_router_returns_is_the_answer() -> None:
    assert ends(returning(lambda answer: answer)) == TurnCompleted(answer_from="ask:a:1")
    assert ends(returning(lambda answer: answer.text.upper())) == TurnCompleted(answer="YES")
    assert ends(returning(lambda answer: None)) == TurnCompleted()
    assert ends(returning(lambda answer: "")) == TurnCompleted(answer="")


def test_an_answer_that_the_router_changed_is_its_own_words() -> None:
    assert ends(returning(lambda answer: replace(answer, text="mine"))) == TurnCompleted(
        answer="mine"
    )
    assert ends(returning(lambda answer: replace(answer, step="ask:z:9"))) == TurnCompleted(
        answer="yes"
    )


def test_a_long_answer_of_the_router_is_a_blob_to_store() -> None:
    async def route(turn: Turn) -> str:
        return "é" * SPILL

    machine = scripted(route)
    given = Given(
        TurnStarted(
            message=Message(content="Hi"),
            facts=machine.facts,
            semantics=Semantics(script=machine.source),
        ),
        "user",
        turn="t1",
    )
    end = machine.machine.advance(given, START)[-1].data
    assert isinstance(end, TurnCompleted)
    assert isinstance(end.answer, Blob)
    assert machine.machine.texts.made == {end.answer.sha256: ("é" * SPILL).encode()}


def test_a_failure_is_no_answer() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.ask("a")

    room = scripted(route)
    room.post()
    room.fail("ask:a:1", "no key")
    assert room.last(TurnFailed).reason == "nobody_answered"
    assert room.last(TurnFailed).message == "nobody answered: a: no key"
    assert ends(returning(lambda answer: Failure("a", answer.step, "X", "x"))) == TurnCompleted()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "the router returned bool: return an Answer, a str or None"),
        (("a", "b"), "the router returned tuple: return an Answer, a str or None"),
        ("\ud800", "an answer is not valid Unicode (a lone surrogate)"),
        (Answer("a", "ask:a:1", 5), "the text of an answer is a str, not int"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_answer_is_a_fault(value: Any, message: str) -> None:
    end = ends(returning(lambda answer: value))
    assert end == TurnFailed(reason="router_fault", message=message)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(object()), "ValueError: <object object at 0x...>"),
        (ValueError("\ud800 half"), "ValueError: ? half"),
        (ValueError("x" * 9000), "ValueError: " + "x" * 3988),
        (Unspeakable(), "Unspeakable: (its message could not be read)"),
        (SystemExit(1), "the router raised SystemExit"),
        (asyncio.CancelledError(), "the router raised CancelledError"),
    ],
)
def test_what_a_router_raises_is_told_the_same_in_every_process(
    error: BaseException, message: str
) -> None:
    def fault(answer: Answer) -> None:
        raise error

    assert ends(returning(fault)) == TurnFailed(reason="router_fault", message=message)


def test_a_router_that_recurses_without_end_is_told_the_same_at_every_depth() -> None:
    def deeper(answer: Answer) -> Any:
        return deeper(answer)

    message = "RecursionError: it recursed too deeply"
    assert ends(returning(deeper)) == TurnFailed(reason="router_fault", message=message)


def test_what_is_no_router_is_a_fault() -> None:
    def plain(turn: Turn) -> str:
        return "not async"

    async def generator(turn: Turn) -> Any:
        yield turn

    def bad(turn: Turn) -> None:
        raise SystemExit

    for route in (plain, generator):
        end = ends(route)
        assert isinstance(end, TurnFailed)
        assert end.message == "test:route must be an 'async def' that takes the turn"
    end = ends(bad)
    assert isinstance(end, TurnFailed)
    assert end.message == "SystemExit: "


MISUSE: dict[str, tuple[Callable[[Turn], object], str]] = {
    "nobody": (lambda turn: turn.ask("z"), "'z' is not a participant: there are a, b, c"),
    "no name": (
        lambda turn: turn.ask(turn.participants[0]),  # type: ignore[arg-type]
        "a participant's id is a str, not Participant",
    ),
    "instruction": (
        lambda turn: turn.ask("a", instruction=5),  # type: ignore[arg-type]
        "an instruction is a str, not int",
    ),
    "surrogate": (lambda turn: turn.ask("a", instruction="\udfff"), "lone surrogate"),
    "purpose": (lambda turn: turn.ask("a", purpose="x" * 65), "a purpose has at most 64"),
    "see": (
        lambda turn: turn.ask("a", see="later"),  # type: ignore[arg-type]
        "see is one of 'start', 'now'",
    ),
    "history": (
        lambda turn: turn.ask("a", history=["shared"]),  # type: ignore[arg-type]
        "history is one of None, 'shared', 'isolated', 'none'",
    ),
    "exclude": (lambda turn: turn.ask("a", exclude=["ask:a:1"]), "no step 'ask:a:1' of this turn"),
    "schema": (lambda turn: turn.ask("a", schema={"a": {1, 2}}), "a schema is JSON"),
    "schema list": (
        lambda turn: turn.ask("a", schema=[]),  # type: ignore[arg-type]
        "a schema is a dict, not list",
    ),
    "long schema": (lambda turn: turn.ask("a", schema={"a": "x" * SPILL}), "a schema has at most"),
    "timer": (
        lambda turn: turn.timer("5"),  # type: ignore[arg-type]
        "a timer takes seconds, not str",
    ),
    "negative": (lambda turn: turn.timer(-1), "a timer takes 0 to 86400 seconds"),
    "nan": (lambda turn: turn.timer(float("nan")), "a timer takes 0 to 86400 seconds"),
    "huge": (lambda turn: turn.timer(10**400), "a timer takes 0 to 86400 seconds"),
    "name": (lambda turn: turn.draw("a:b"), "the name of a timer or draw"),
    "decide": (lambda turn: turn.decide(["z"], "why"), "'z' is not a participant"),
    "reason": (lambda turn: turn.decide(["a"], "x" * 4001), "a reason has at most 4000"),
    "cast": (lambda turn: turn.cast("a", "z", "why"), "'z' is not a participant"),
    "tally": (lambda turn: turn.tally({"z": 1}, "a", None), "'z' is not a participant"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_a_router_is_told_what_it_did_wrong(name: str) -> None:
    call, message = MISUSE[name]

    async def route(turn: Turn) -> None:
        call(turn)

    end = ends(route)
    assert isinstance(end, TurnFailed)
    assert message in end.message


def test_what_a_script_does_to_its_view_stays_in_its_view() -> None:
    schema: dict[str, Any] = {"enum": ("a", "b")}

    async def route(turn: Turn) -> Any:
        turn.participants[0].extra["seen"] = turn.id
        pending = turn.ask("a", schema=schema)
        schema["enum"] = ("c",)
        return await pending

    models = [{"id": "a", "provider": "test", "model_name": "m", "extra": {"top_k": 5}}]
    room = scripted(route, models=models)
    room.post()
    assert room.asked("ask:a:1").parameters.schema_ == {"enum": ["a", "b"]}
    assert room.asked("ask:a:1").parameters.extra == {"top_k": 5}
    schema["enum"] = ("a", "b")
    room.answer("ask:a:1")
    assert room.config.models[0].extra == {"top_k": 5}
