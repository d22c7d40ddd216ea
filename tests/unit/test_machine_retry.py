"""The session machine: asking one participant again, and new configurations."""

from __future__ import annotations

from typing import Any

from actors.routing.turn import Turn
from events.turns import DEADLINE
from events.types import TurnCompleted, TurnFailed
from tests.sessions import Driven
from tests.unit.scripted import scripted


def test_a_retry_asks_one_participant_what_it_was_asked_then() -> None:
    room = Driven()
    room.post("one")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on one")
    room.post("two")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name} on two")
    assert room.retry("t1", "b") == "turn.started model.asked(ask:b:1)"
    asked, messages = room.request("ask:b:1")
    assert asked.digest == room.asked("ask:b:1", "t1").digest
    assert [text for _, text in messages[1:]] == ["one"]
    assert room.answer("ask:b:1", "b once more") == "model.answered(ask:b:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    entries = [(entry.content, entry.superseded_at) for entry in room.machine.session.entries]
    again = room.log[-2].position
    assert entries == [
        ("one", None),
        ("a on one", None),
        ("b on one", again),
        ("b once more", None),
        ("c on one", None),
        ("two", None),
        ("a on two", None),
        ("b on two", None),
        ("c on two", None),
    ]
    room.post("three")
    said = room.request("ask:a:1")[1]
    assert "b once more" in str(said)
    assert "b on one" not in str(said)
    room.prove()


def test_a_retry_of_a_retry_goes_back_to_the_first_question() -> None:
    room = Driven()
    room.post("one")
    for name in "abc":
        room.answer(f"ask:{name}:1", f"{name}1")
    room.retry("t1", "b")
    room.answer("ask:b:1", "b2")
    room.retry("t2", "b")
    room.answer("ask:b:1", "b3")
    room.retry("t1", "b")
    room.answer("ask:b:1", "b4")
    digests = {room.asked("ask:b:1", turn).digest for turn in ("t1", "t2", "t3", "t4")}
    assert len(digests) == 1
    shown = [e.content for e in room.machine.session.entries if e.superseded_at is None]
    assert shown == ["one", "a1", "b4", "c1"]
    hidden = [e.content for e in room.machine.session.entries if e.superseded_at is not None]
    assert hidden == ["b1", "b2", "b3"]
    room.prove()


def test_a_participant_that_failed_can_be_asked_again() -> None:
    room = Driven()
    room.post("one")
    room.answer("ask:a:1", "a1")
    room.fail("ask:b:1")
    room.answer("ask:c:1", "c1")
    room.retry("t1", "b")
    assert room.fail("ask:b:1") == "model.failed(ask:b:1) turn.failed"
    room.retry("t2", "b")
    assert room.answer("ask:b:1", "b at last").endswith("turn.completed")
    assert [e.content for e in room.machine.session.entries] == ["one", "a1", "c1", "b at last"]
    assert all(e.superseded_at is None for e in room.machine.session.entries)
    room.prove()


def test_a_retry_leaves_out_what_was_left_out_and_keeps_the_window() -> None:
    async def route(turn: Turn) -> Any:
        await turn.gather(turn.ask("a"), turn.ask("b"))
        return await turn.ask("c", see="now", exclude=["ask:a:1"])

    room = scripted(route, window=2)
    room.post("one")
    room.answer("ask:a:1", "not for c")
    room.answer("ask:b:1", "for c")
    room.answer("ask:c:1", "c1")
    room.reconfigure(window=None)
    room.retry("t1", "c")
    asked, messages = room.request("ask:c:1")
    assert asked.digest == room.asked("ask:c:1", "t1").digest
    assert asked.context == room.asked("ask:c:1", "t1").context
    assert messages[-1] == ("user", "one\n\n[B (b)]: for c")
    room.prove()


def test_a_retry_runs_on_the_configuration_of_now() -> None:
    room = Driven(names="ab")
    room.post()
    room.answer("ask:a:1")
    room.fail("ask:b:1")
    models = [model.model_dump(mode="json") for model in room.config.models]
    models[1]["model_name"] = "a better one"
    room.reconfigure(models=models)
    room.retry("t1", "b")
    assert room.asked("ask:b:1").model == "a better one"
    room.answer("ask:b:1")
    room.reconfigure(models=models[:1])
    assert room.retry("t1", "b") == "turn.started turn.failed"
    assert "'b' is not a participant" in room.last(TurnFailed).message
    room.prove()


def test_a_retry_of_somebody_who_was_never_asked_fails() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.answer("ask:a:1")
    assert room.retry("t1", "b") == "turn.started turn.failed"
    assert room.last(TurnFailed).message == "b was not asked for an answer in t1"
    room.prove()


def test_a_new_configuration_takes_effect_with_the_next_turn() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=1, max_steps=50)
    room.post("one")
    room.post("two")
    room.reconfigure(routing_pattern="broadcast", deadline=5, max_steps=1)
    assert room.answer("ask:a:1") == (
        "model.answered(ask:a:1) route.decided model.asked(ask:b:1)"  # a second step, still
    )
    room.answer("ask:b:1")
    room.reconfigure(max_steps=9)
    assert room.start("t2") == "turn.started model.asked(ask:a:1) model.asked(ask:b:1)"
    assert room.machine.timers[DEADLINE].seconds == 5
    room.prove()
