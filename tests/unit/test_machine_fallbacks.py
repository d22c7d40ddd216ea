"""The session machine: a participant's fallbacks stand in, each as a step of its own."""

from __future__ import annotations

from typing import Any

import pytest

from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn
from events.tools import ToolRefused
from events.types import ModelAsked, TurnCompleted, TurnFailed
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, facts, wants
from tests.unit.scripted import scripted


def seats(**more: Any) -> dict[str, Any]:
    """Two participants, the first with two fallbacks."""
    models = [one.model_dump(mode="json") for one in config("ab").models]
    models[0]["fallbacks"] = [
        {"provider": "spare", "model_name": "first"},
        {"provider": "spare", "model_name": "second"},
    ]
    return {"models": models} | more


def test_a_fallback_is_asked_the_same_as_a_step_of_its_own() -> None:
    room = Driven(**seats())
    room.post("Hello")
    assert room.fail("ask:a:1") == "model.failed(ask:a:1) model.asked(ask:a:2)"
    own, spare = room.asked("ask:a:1"), room.asked("ask:a:2")
    assert (spare.provider, spare.model, spare.fallback) == ("spare", "first", 1)
    assert (own.fallback, own.instead_of, spare.instead_of) == (0, None, "ask:a:1")
    assert (spare.participant, spare.context, spare.parameters) == (
        "a",
        own.context,
        own.parameters,
    )
    assert spare.digest != own.digest
    assert room.request("ask:a:2")[1][-1] == ("user", "Hello")
    assert room.answer("ask:b:1") == "model.answered(ask:b:1)"
    assert room.answer("ask:a:2", "Hi") == "model.answered(ask:a:2) turn.completed"
    assert [entry.content for entry in room.machine.session.entries] == ["Hello", "yes", "Hi"]
    room.prove()


def test_when_the_last_fallback_fails_that_is_told() -> None:
    room = Driven(**seats())
    room.post()
    room.fail("ask:a:1", "own is down")
    assert room.fail("ask:a:2", "first is down").endswith("model.asked(ask:a:3)")
    assert room.asked("ask:a:3").model == "second"
    assert room.fail("ask:a:3", "second is down") == "model.failed(ask:a:3)"
    assert room.fail("ask:b:1", "b is down") == "model.failed(ask:b:1) turn.failed"
    reasons = room.last(TurnFailed).message
    for reason in ("own is down", "first is down", "second is down", "b is down"):
        assert reason in reasons
    room.prove()


async def _twice(turn: Turn) -> Answer | Failure | str:
    first = await turn.ask("a")
    again = await turn.ask("a", see="now", exclude=[first.step])
    loser = await turn.first(turn.ask("a"), turn.ask("b"))
    return f"{first.step} {again.step} {loser.step}"


def test_routers_wait_for_whoever_stands_in_and_races_cancel_them() -> None:
    room = scripted(_twice, **seats())
    room.post()
    room.fail("ask:a:1")
    room.answer("ask:a:2", "stood in")
    assert list(room.waiting) == ["ask:a:3"]
    room.answer("ask:a:3", "own again")
    assert list(room.waiting) == ["ask:a:4", "ask:b:1"]
    room.fail("ask:a:4")
    assert list(room.waiting) == ["ask:b:1", "ask:a:5"]
    assert "model.cancelled(ask:a:5)" in room.answer("ask:b:1", "b was faster")
    assert room.last(TurnCompleted).answer == "ask:a:2 ask:a:3 ask:b:1"
    room.prove()


def test_while_paused_no_fallback_is_asked() -> None:
    room = Driven(**seats())
    room.post()
    room.pause()
    assert room.fail("ask:a:1") == "model.failed(ask:a:1)"
    assert room.resume() == "session.resumed model.asked(ask:a:2)"
    room.prove()


def test_a_fallback_takes_a_step_of_the_turn() -> None:
    room = Driven(**seats(max_steps=3))
    room.post()
    assert room.fail("ask:a:1") == "model.failed(ask:a:1) model.asked(ask:a:2)"
    assert room.fail("ask:a:2") == "model.failed(ask:a:2)", "no step is left for the second one"
    assert room.answer("ask:b:1") == "model.answered(ask:b:1) turn.completed"
    room.prove()


@pytest.mark.parametrize("answered", ["ask:a:1", "ask:a:2"])
def test_a_retry_begins_with_the_participant_s_own_model(answered: str) -> None:
    room = Driven(**seats())
    room.post("one")
    room.answer("ask:b:1")
    if answered == "ask:a:2":
        room.fail("ask:a:1")
    room.answer(answered, "first")
    room.retry("t1", "a")
    assert (room.asked("ask:a:1", "t2").model, room.asked("ask:a:1", "t2").fallback) == ("m-a", 0)
    assert room.fail("ask:a:1").endswith("model.asked(ask:a:2)")
    room.answer("ask:a:2", "second")
    room.prove()


def test_turns_of_the_first_engine_knew_no_fallbacks() -> None:
    room = Driven(engine=1, **seats())
    room.post()
    assert room.fail("ask:a:1") == "model.failed(ask:a:1)"
    assert len(room.data(ModelAsked)) == 2
    room.prove()


@pytest.mark.parametrize("engine", [3, 4])
def test_fallbacks_leave_each_loop_its_last_question_since_version_4(engine: int) -> None:
    blobs = Blobs()
    spare = [{"provider": "spare", "model_name": f"m{number}"} for number in range(4)]
    models = [one.model_dump(mode="json") | {"fallbacks": spare} for one in config("ab").models]
    known = facts(blobs, "ab")
    room = Driven(facts=known, blobs=blobs, models=models, max_steps=6, engine=engine)
    room.post()
    for number in (1, 2):
        assert room.fail(f"ask:a:{number}").endswith(f"model.asked(ask:a:{number + 1})")
    if engine == 3:
        room.fail("ask:a:3")
        room.fail("ask:a:4")
        room.give(wants(ADD), by="model", turn="t1", step="ask:b:1")
        assert room.last(TurnFailed).reason == "too_many_steps"
    else:
        assert room.fail("ask:a:3") == "model.failed(ask:a:3)"
        room.give(wants(ADD), by="model", turn="t1", step="ask:b:1")
        assert "no steps left" in room.last(ToolRefused).reason
        assert room.asked("ask:b:2").tool_choice == "none"
        assert room.answer("ask:b:2").endswith("turn.completed")
    room.prove()
