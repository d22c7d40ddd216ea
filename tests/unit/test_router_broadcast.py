"""Broadcast asks everyone, and completes with those who answered."""

from __future__ import annotations

from events.types import TurnCompleted, TurnFailed
from tests.sessions import Driven


def test_broadcast_asks_everyone_at_once() -> None:
    room = Driven()
    assert (
        room.post() == "turn.started model.asked(ask:a:1) model.asked(ask:b:1) model.asked(ask:c:1)"
    )
    assert room.answer("ask:b:1") == "model.answered(ask:b:1)"
    assert room.answer("ask:a:1") == "model.answered(ask:a:1)"
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) turn.completed"
    end = room.last(TurnCompleted)
    assert (end.answer_from, end.answer) == (None, None)  # three answers, so none is the answer


def test_broadcast_completes_with_those_who_answered() -> None:
    room = Driven()
    room.post()
    room.fail("ask:a:1")
    room.answer("ask:b:1")
    assert room.fail("ask:c:1") == "model.failed(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"


def test_broadcast_to_one_has_an_answer() -> None:
    room = Driven(names="a")
    room.post()
    room.answer("ask:a:1")
    assert room.last(TurnCompleted).answer_from == "ask:a:1"


def test_broadcast_fails_only_if_nobody_answers() -> None:
    room = Driven()
    room.post()
    room.fail("ask:c:1", "no key")
    room.fail("ask:a:1", "timed out")
    assert room.fail("ask:b:1", "no key") == "model.failed(ask:b:1) turn.failed"
    end = room.last(TurnFailed)
    assert end.reason == "nobody_answered"
    assert end.message == "nobody answered: a: timed out; b: no key; c: no key"
