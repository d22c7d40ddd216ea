"""The session machine: what a pause holds back and what it lets through."""

from __future__ import annotations

from typing import Any

from actors.routing.turn import Turn
from events.types import ModelAnswered, TurnCompleted
from tests.sessions import Driven
from tests.unit.scripted import scripted


def test_a_paused_session_records_outcomes_and_issues_nothing_until_resumed() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    room.post()
    room.pause()
    assert list(room.waiting) == ["ask:a:1"]
    assert room.answer("ask:a:1", "everyone") == "model.answered(ask:a:1)"
    assert list(room.waiting) == []
    assert room.resume() == (
        "session.resumed route.decided model.asked(ask:b:1) model.asked(ask:c:1)"
    )
    room.prove()


def test_held_outcomes_are_fed_in_their_order() -> None:
    async def route(turn: Turn) -> str:
        async def tell(name: str) -> None:
            await turn.ask(name)
            said.append(name)

        said: list[str] = []
        await turn.gather(*(tell(p.id) for p in turn.participants))
        return "".join(said)

    room = scripted(route)
    room.post()
    room.pause()
    for name in "cab":
        room.answer(f"ask:{name}:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.last(TurnCompleted).answer == "cab"
    room.prove()


def test_pauses_follow_each_other() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    for step, following in (("ask:a:1", "ask:b:1"), ("ask:b:1", "ask:a:2"), ("ask:a:2", "ask:b:2")):
        room.pause()
        assert room.answer(step) == f"model.answered({step})"
        assert room.resume() == f"session.resumed route.decided model.asked({following})"
    room.prove()


def test_a_turn_called_off_in_a_pause_cancels_only_what_has_not_come() -> None:
    room = Driven()
    room.post()
    room.pause()
    room.answer("ask:b:1", "paid for")
    assert room.cancel() == "turn.cancelled model.cancelled(ask:a:1) model.cancelled(ask:c:1)"
    turn = room.machine.session.turns["t1"]
    assert isinstance(turn.steps["ask:b:1"].outcome, ModelAnswered)
    assert room.resume() == "session.resumed"
    assert room.post().startswith("turn.started")
    assert room.waiting == ("ask:a:1", "ask:b:1", "ask:c:1")
    room.prove()


def test_an_answer_that_came_in_a_pause_is_not_cancelled_when_it_loses() -> None:
    async def route(turn: Turn) -> Any:
        return await turn.first(turn.ask("a"), turn.ask("b"), turn.ask("c"))

    room = scripted(route)
    room.post()
    room.pause()
    room.answer("ask:b:1", "first")
    room.answer("ask:a:1", "second")
    assert room.resume() == "session.resumed model.cancelled(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    room.prove()


def test_a_turn_that_ends_with_the_first_held_outcome_leaves_the_others() -> None:
    async def route(turn: Turn) -> Any:
        turn.ask("b")
        return await turn.ask("a")

    room = scripted(route)
    room.post()
    room.post()
    room.pause()
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.start("t2").endswith("model.asked(ask:b:1) model.asked(ask:a:1)")
    assert room.waiting == ("ask:b:1", "ask:a:1")
    room.prove()


def test_chance_and_timers_are_held_in_a_pause_too() -> None:
    async def route(turn: Turn) -> str:
        value, _ = await turn.gather(turn.draw(), turn.timer(5))
        return str(value)

    room = scripted(route)
    assert room.post() == "turn.started timer.set(timer:timer:1)"
    assert list(room.machine.draws) == ["draw:chance:1"]
    room.pause()
    assert room.draw("draw:chance:1", 4) == "chance.drawn(draw:chance:1)"
    assert list(room.machine.draws) == []
    room.fire("timer:timer:1")
    assert room.resume() == "session.resumed turn.completed"
    assert room.last(TurnCompleted).answer == "4"
    room.prove()
