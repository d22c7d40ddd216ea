"""The session machine: participants call tools before they answer."""

from __future__ import annotations

from typing import Any

from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn
from events.tools import ToolCalled, ToolCancelled
from events.types import ModelAsked, TurnCompleted, TurnFailed
from events.values import Blob
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, FIND, Tooled, broken, facts, offered, returned, wants
from tests.unit.scripted import scripted


def test_the_calls_of_an_answer_are_made_at_once_and_the_participant_is_asked_again() -> None:
    room = Tooled()
    room.post()
    first = room.asked("ask:a:1")
    assert (first.tools, first.tool_choice, first.continues) == (
        Blob.model_validate(offered(Blobs())["offered"]),
        None,
        None,
    )
    assert room.wants("ask:a:1", ADD, FIND, ADD, text="Let me see.") == (
        "model.answered(ask:a:1) tool.called(call:calc__add:1) tool.called(call:files__find:1) "
        "tool.called(call:calc__add:2)"
    )
    called = room.data(ToolCalled)[1]
    assert (called.server, called.tool) == ("files", "find")
    assert called.use.model_dump() == {
        "name": FIND,
        "arguments": '{"n": 2}',
        "participant": "a",
        "asked_in": "ask:a:1",
        "call_id": "c2",
    }
    assert room.returns("call:calc__add:2") == "tool.returned(call:calc__add:2)"
    assert room.returns("call:calc__add:1", is_error=True) == "tool.returned(call:calc__add:1)"
    failed = room.give(broken(), turn="t1", step="call:files__find:1")
    assert failed == "tool.failed(call:files__find:1) model.asked(ask:a:2)"
    again = room.asked("ask:a:2")
    assert (again.continues, again.tool_choice, again.tools) == ("ask:a:1", None, first.tools)
    assert (again.context, again.parameters, again.purpose) == (
        first.context,
        first.parameters,
        first.purpose,
    )
    assert room.answer("ask:a:2", "It is 42.") == "model.answered(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:a:2"
    said = [entry.content for entry in room.machine.session.entries]
    assert said == ["Hello", "It is 42."]
    room.prove()


def test_participants_run_their_loops_at_once() -> None:
    room = Tooled("abc", with_tools="ab")
    room.post()
    assert room.asked("ask:c:1").tools is None
    room.wants("ask:b:1", ADD)
    room.wants("ask:a:1", ADD, FIND)
    assert set(room.waiting) == {
        "ask:c:1",
        "call:calc__add:1",
        "call:calc__add:2",
        "call:files__find:1",
    }
    assert room.returns("call:calc__add:1").endswith("model.asked(ask:b:2)")
    room.answer("ask:b:2", "b")
    room.returns("call:files__find:1")
    room.answer("ask:c:1", "c")
    assert room.returns("call:calc__add:2").endswith("model.asked(ask:a:2)")
    assert room.answer("ask:a:2", "a").endswith("turn.completed")
    assert [entry.content for entry in room.machine.session.entries[1:]] == ["b", "c", "a"]
    room.prove()


def test_a_turn_that_is_called_off_cancels_its_calls() -> None:
    room = Tooled("ab", with_tools="a")
    room.post()
    room.wants("ask:a:1", ADD, FIND)
    room.returns("call:calc__add:1")
    assert room.cancel() == (
        "turn.cancelled model.cancelled(ask:b:1) tool.cancelled(call:files__find:1)"
    )
    assert room.last(ToolCancelled).reason == "turn_ended"
    assert room.machine.session.turns["t1"].last_ask("a") is not None
    room.prove()


def test_a_pause_holds_calls_and_their_outcomes_back() -> None:
    room = Tooled()
    room.post()
    room.pause()
    assert room.wants("ask:a:1", ADD) == "model.answered(ask:a:1)"
    assert room.resume() == "session.resumed tool.called(call:calc__add:1)"
    room.pause()
    assert room.returns("call:calc__add:1") == "tool.returned(call:calc__add:1)"
    assert room.waiting == ()
    assert room.resume() == "session.resumed model.asked(ask:a:2)"
    room.answer("ask:a:2")
    room.prove()


def test_a_race_is_lost_with_all_of_a_loop() -> None:
    async def route(turn: Turn) -> Any:
        loser = turn.ask("a")
        winner = await turn.first(loser, turn.ask("b"))
        assert isinstance(winner, Answer)
        lost = await loser
        assert isinstance(lost, Failure)
        return f"{winner.text} {lost.error} {lost.step}"

    blobs = Blobs()
    room = scripted(route, facts=facts(blobs, "a"), blobs=blobs)
    room.post()
    room.give(wants(ADD, FIND), turn="t1", step="ask:a:1")
    room.give(returned(), turn="t1", step="call:calc__add:1")
    assert room.answer("ask:b:1", "b won") == (
        "model.answered(ask:b:1) tool.cancelled(call:files__find:1) turn.completed"
    )
    assert room.last(TurnCompleted).answer == "b won Cancelled ask:a:1"
    room.prove()


def test_fallbacks_stand_in_within_a_loop_and_go_on_with_it() -> None:
    model = config("a").models[0].model_dump()
    spare = [{"provider": "spare", "model_name": name} for name in ("one", "two")]
    room = Tooled(models=[model | {"fallbacks": spare}])
    room.post()
    room.wants("ask:a:1", ADD)
    room.returns("call:calc__add:1")
    assert room.fail("ask:a:2").endswith("model.asked(ask:a:3)")
    stood_in = room.asked("ask:a:3")
    assert (stood_in.model, stood_in.instead_of, stood_in.continues) == (
        "one",
        "ask:a:2",
        "ask:a:1",
    )
    assert stood_in.tools == room.asked("ask:a:1").tools
    room.wants("ask:a:3", FIND)
    room.returns("call:files__find:1")
    again = room.asked("ask:a:4")
    assert (again.model, again.fallback, again.continues) == ("one", 1, "ask:a:3")
    assert again.instead_of is None
    assert room.fail("ask:a:4").endswith("model.asked(ask:a:5)")
    assert room.asked("ask:a:5").model == "two"
    assert room.fail("ask:a:5").endswith("turn.failed")
    assert room.last(TurnFailed).reason == "nobody_answered"
    room.prove()


def test_a_retry_asks_the_first_question_again_and_may_call_tools() -> None:
    room = Tooled("ab")
    room.post("one")
    room.wants("ask:a:1", ADD)
    room.answer("ask:b:1", "b")
    room.returns("call:calc__add:1")
    room.answer("ask:a:2", "first")
    room.retry("t1", "a")
    again = room.asked("ask:a:1", "t2")
    assert again.continues is None
    assert again.context == room.asked("ask:a:1", "t1").context
    room.wants("ask:a:1", FIND)
    room.returns("call:files__find:1")
    assert room.answer("ask:a:2", "second").endswith("turn.completed")
    hidden = [entry.content for entry in room.machine.session.entries if entry.superseded_at]
    assert hidden == ["first"]
    room.prove()


def test_an_answer_that_is_shown_later_is_the_last_of_its_loop() -> None:
    room = Tooled("ab", routing_pattern="round_robin", rounds=1)
    room.post()
    room.wants("ask:a:1", ADD, text="I look it up.")
    room.returns("call:calc__add:1")
    room.answer("ask:a:2", "It is 42.")
    assert room.asked("ask:b:1").tools is not None
    shown = room.request("ask:b:1")[1]
    assert "It is 42." in shown[-1][1]
    assert "look it up" not in shown[-1][1]
    room.answer("ask:b:1")
    room.prove()


def test_plans_and_ballots_are_made_without_tools() -> None:
    room = Tooled("ab", routing_pattern="coordinator", coordinator="a")
    room.post()
    assert room.asked("ask:a:1").tools is None
    room.answer("ask:a:1", '{"participants": ["b"], "reason": "he knows"}')
    assert room.asked("ask:b:1").tools is not None
    room = Tooled("ab", routing_pattern="voting")
    room.post()
    for name in "ab":
        room.answer(f"ask:{name}:1")
    assert [room.asked(f"ask:{name}:2").tools for name in "ab"] == [None, None]


def test_an_older_engine_offers_no_tools() -> None:
    blobs = Blobs()
    room = Driven(facts=facts(blobs, "a"), blobs=blobs, engine=2)
    room.post()
    assert [one.tools for one in room.data(ModelAsked)] == [None, None, None]
    room.give(wants(ADD, text="Said."), turn="t1", step="ask:a:1")
    assert room.machine.session.entries[-1].content == "Said."
