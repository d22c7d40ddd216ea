"""Who speaks next in round robin and in a debate, also where speakers fail."""

from __future__ import annotations

from events.types import RouteDecided, TurnCompleted, TurnFailed
from tests.sessions import Driven


def test_round_robin_is_one_speaker_a_message() -> None:
    room = Driven(routing_pattern="round_robin")
    for speaker in ("a", "b", "c", "a"):
        step = f"ask:{speaker}:1"
        assert room.post() == f"turn.started route.decided model.asked({step})"
        assert room.answer(step).endswith("turn.completed")
        assert room.last(TurnCompleted).answer_from == step


def test_a_speaker_that_fails_gives_the_floor_to_the_next() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    assert room.fail("ask:a:1") == "model.failed(ask:a:1) route.decided model.asked(ask:b:1)"
    assert room.last(RouteDecided).fallback == "a failed"
    room.answer("ask:b:1")
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    assert room.post().endswith("model.asked(ask:c:1)")  # after the one who spoke last


def test_round_robin_goes_round_once_and_fails() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.fail("ask:a:1")
    room.fail("ask:b:1")
    assert room.fail("ask:c:1") == "model.failed(ask:c:1) turn.failed"
    assert room.post().endswith("model.asked(ask:a:1)")


def test_round_robin_goes_on_when_the_last_speaker_has_left() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.answer("ask:a:1")
    room.reconfigure(models=[model.model_dump(mode="json") for model in room.config.models[1:]])
    assert room.post().endswith("model.asked(ask:b:1)")


def test_a_debate_goes_round_and_everyone_hears_everyone() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    for step, text in (("ask:a:1", "A1"), ("ask:b:1", "B1"), ("ask:a:2", "A2")):
        assert room.answer(step, text).startswith(
            f"model.answered({step}) route.decided model.asked("
        )
    _, messages = room.request("ask:b:2")
    assert [text for _, text in messages[1:]] == ["Hello\n\n[A (a)]: A1", "B1", "[A (a)]: A2"]
    assert room.answer("ask:b:2") == "model.answered(ask:b:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:2"
    assert [d.reason for d in room.data(RouteDecided)] == ["round 1 of 2"] * 2 + [
        "round 2 of 2"
    ] * 2


def test_a_debate_goes_on_without_those_who_fail() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    room.fail("ask:a:1")
    room.answer("ask:b:1", "B1")
    room.fail("ask:a:2")
    assert room.fail("ask:b:2") == "model.failed(ask:b:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"  # the last that was given


def test_a_debate_longer_than_the_step_limit_is_stopped() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=20, max_steps=3)
    room.post()
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    assert room.answer("ask:a:2") == "model.answered(ask:a:2) route.decided turn.failed"
    assert room.last(TurnFailed).reason == "too_many_steps"
    assert "raise 'max_steps'" in room.last(TurnFailed).message
