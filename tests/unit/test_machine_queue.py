"""The session machine: turns that wait for another, and the end of a session."""

from __future__ import annotations

import pytest

from events.errors import Refused
from events.turns import DEADLINE
from tests.sessions import Driven


def test_a_message_behind_an_open_turn_waits_its_turn() -> None:
    room = Driven()
    room.post("one")
    assert room.post("two") == "turn.queued"
    assert room.post("three") == "turn.queued"
    session = room.machine.session
    assert session.queue == ["t2", "t3"]
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on one")
    assert room.start("t2").startswith("turn.started model.asked(ask:a:1)")
    assert session.queue == ["t3"]
    assert room.request("ask:b:1")[1][-1][1].endswith("[C (c)]: c on one\n\ntwo")
    room.prove()


def test_a_queued_turn_can_be_cancelled_and_the_open_one_goes_on() -> None:
    room = Driven()
    room.post()
    room.post()
    room.post()
    assert room.cancel("t2") == "turn.cancelled"
    session = room.machine.session
    assert (session.queue, session.open and session.open.id) == (["t3"], "t1")
    assert room.answer("ask:a:1") == "model.answered(ask:a:1)"
    room.cancel("t1")
    room.cancel("t3")
    assert (session.queue, session.open) == ([], None)
    assert [turn.status for turn in session.turns.values()] == ["cancelled"] * 3
    room.prove()


def test_a_closed_session_takes_nothing_more() -> None:
    room = Driven()
    room.post()
    room.cancel()
    room.close()
    for refused in (room.post, room.pause, room.resume, lambda: room.reconfigure(rounds=1)):
        with pytest.raises(Refused, match="the session is closed"):
            refused()
    assert room.machine.session.status == "closed"
    room.prove()


def test_a_turn_that_is_open_when_its_session_closes_ends_in_its_own_way() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    room.post()
    room.post()
    room.pause()
    room.answer("ask:a:1", "everyone")
    assert room.close() == "session.closed route.decided model.asked(ask:b:1) model.asked(ask:c:1)"
    assert room.machine.timers[DEADLINE].armed_at == room.log[-1].at
    room.answer("ask:b:1")
    room.fail("ask:c:1")
    assert room.machine.session.turns["t1"].status == "completed"
    room.cancel("t2")
    assert room.machine.session.queue == []
    room.prove()
