"""The session machine: deadlines and timers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actors.routing.turn import Turn
from events.errors import Refused
from events.turns import DEADLINE
from events.types import (
    ModelCancelled,
    ModelDiscarded,
    SessionPaused,
    SessionResumed,
    TurnFailed,
    TurnStarted,
)
from events.values import Message, Semantics
from tests.sessions import START, Driven
from tests.unit.scripted import scripted


def test_the_deadline_cancels_what_is_open_and_fails_the_turn() -> None:
    room = Driven(deadline=90)
    room.post()
    room.answer("ask:b:1")
    assert room.fire(DEADLINE) == (
        "timer.fired(deadline) model.cancelled(ask:a:1) model.cancelled(ask:c:1) turn.failed"
    )
    end = room.last(TurnFailed)
    assert end.reason == "deadline"
    assert "deadline of 90 s" in end.message
    assert {data.reason for data in room.data(ModelCancelled)} == {"turn_ended"}
    assert room.waiting == ()
    room.prove()


def test_clocks_stand_still_in_a_pause() -> None:
    async def route(turn: Turn) -> None:
        await turn.timer(10)

    room = scripted(route, deadline=100)

    def left(seconds: float) -> dict[str, float]:
        at = START + timedelta(seconds=seconds)
        return {key: timer.remaining(at) for key, timer in room.machine.timers.items()}

    room.give(
        TurnStarted(
            message=Message(content="Hi"), facts=room.facts, semantics=Semantics(script=room.source)
        ),
        turn="t1",
        at=START,
    )
    assert left(4) == {DEADLINE: 96, "timer:timer:1": 6}
    room.give(SessionPaused(), at=START + timedelta(seconds=4))
    assert left(50) == {DEADLINE: 96, "timer:timer:1": 6}
    room.give(SessionResumed(), at=START + timedelta(seconds=54))
    assert left(55) == {DEADLINE: 95, "timer:timer:1": 5}
    assert left(1000) == {DEADLINE: 0, "timer:timer:1": 0}
    assert left(0) == {DEADLINE: 96, "timer:timer:1": 6}  # a clock that was put back
    room.prove()


def test_a_deadline_does_not_pass_in_a_pause() -> None:
    room = Driven()
    room.post()
    room.pause()
    with pytest.raises(Refused, match="stands still"):
        room.fire(DEADLINE)
    room.resume()
    assert room.fire(DEADLINE).endswith("turn.failed")
    room.prove()


def test_a_timer_that_lost_its_race_may_fire() -> None:
    async def route(turn: Turn) -> Any:
        await turn.first(turn.ask("a"), turn.timer(5, "patience"))
        return await turn.ask("b")

    room = scripted(route)
    room.post()
    assert room.answer("ask:a:1") == "model.answered(ask:a:1) model.asked(ask:b:1)"
    assert "timer:patience:1" not in room.machine.timers
    assert room.fire("timer:patience:1") == "timer.fired(timer:patience:1)"
    with pytest.raises(Refused, match="no such timer"):
        room.fire("timer:patience:1")
    assert room.answer("ask:b:1").endswith("turn.completed")
    room.prove()


def test_a_timer_that_wins_cancels_the_call() -> None:
    async def route(turn: Turn) -> Any:
        await turn.first(turn.ask("a"), turn.timer(5))
        return await turn.ask("b")

    room = scripted(route)
    room.post()
    assert room.fire("timer:timer:1") == (
        "timer.fired(timer:timer:1) model.cancelled(ask:a:1) model.asked(ask:b:1)"
    )
    assert room.last(ModelCancelled).reason == "race_lost"
    with pytest.raises(Refused, match=r"record model\.discarded"):
        room.answer("ask:a:1")
    room.give(ModelDiscarded(attempt=1, reason="cancelled"), turn="t1", step="ask:a:1")
    room.prove()
