"""The session machine: whoever posts, or runs, wants a tool of its own to be called."""

from __future__ import annotations

import orjson

from events.canonical import canonical_json
from events.types import ModelAnswered, TurnCompleted
from events.values import Blob, Message
from projections import transcript_bodies
from tests.sessions import config
from tests.tool_calls import ADD, FIND, RISK, Tooled, tool, wants
from tests.unit.test_machine_workflow import A, Run


def brought(room: Tooled, *, forced: bool = True) -> Blob:
    """Post a message with a tool of the client's own; returns the list of it."""
    own = room.blobs.put(canonical_json([tool("weather")]), "application/json")
    message = Message(content="Hello", tools=own, tool_choice="required" if forced else None)
    room.start("t1", message)
    return own


def test_the_first_question_alone_wants_a_call_and_offers_what_can_be_called_alone() -> None:
    room = Tooled()
    own = brought(room)
    first = room.asked("ask:a:1")
    assert (first.tools, first.tool_choice, first.client_tools) == (own, "required", ("weather",))
    assert room.wants("ask:a:1", "wether").endswith("model.asked(ask:a:2)")
    again = room.asked("ask:a:2")
    assert again.tool_choice is None
    assert again.tools is not None
    offered = [one["name"] for one in orjson.loads(room.blobs.load(again.tools))]
    assert offered == sorted((ADD, FIND, RISK, "weather"))
    assert room.wants("ask:a:2", "weather") == "model.answered(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:a:2"
    room.prove()


def test_a_message_that_forces_nothing_is_asked_as_ever() -> None:
    room = Tooled()
    own = brought(room, forced=False)
    assert room.asked("ask:a:1").tool_choice is None
    assert room.asked("ask:a:1").tools != own


def test_fallbacks_and_retries_are_asked_the_same() -> None:
    [seat] = config("a").models
    spare = {"fallbacks": [{"provider": "spare", "model_name": "one"}]}
    room = Tooled(models=[seat.model_dump(mode="json") | spare])
    own = brought(room)
    room.fail("ask:a:1")
    instead = room.asked("ask:a:2")
    assert (instead.instead_of, instead.tools, instead.tool_choice) == ("ask:a:1", own, "required")
    room.wants("ask:a:2", "weather")
    room.retry("t1", "a")
    again = room.asked("ask:a:1", "t2")
    assert (again.tools, again.tool_choice) == (own, "required")
    room.wants("ask:a:1", "wether")
    assert room.asked("ask:a:2", "t2").tool_choice is None
    room.prove()


def test_an_answer_to_it_that_asks_for_calls_is_not_said() -> None:
    room = Tooled()
    brought(room)
    room.wants("ask:a:1", "wether", text="I look.")
    step = room.machine.session.turns["t1"].steps["ask:a:1"]
    assert step.answer is None
    shown = transcript_bodies.Step.of("ask:a:1", None, "a", room.asked("ask:a:1"))
    assert shown.is_interim(room.data(ModelAnswered)[0])
    assert not shown.is_interim(wants("weather"))
    assert [entry.content for entry in room.machine.session.entries] == ["Hello"]


def test_a_run_s_question_wants_a_call_where_the_run_does() -> None:
    room = Run()
    room.post()
    own = room.blobs.put(canonical_json([tool("weather")]), "application/json")
    room.carry_out(room.command(tools=own, tool_choice="required"))
    room.carry_out(room.command(tools=own))
    assert [room.asked(f"ask:a:{n}").tool_choice for n in (1, 2)] == ["required", None]
    assert room.asked("ask:a:1").tools == own
    room.give(wants("weather"), turn=room.turn, step="ask:a:1")
    room.restarts()
    again = room.carry_out(room.command(A, attempt=2, tools=own, tool_choice="required"))
    assert again == ("ask:a:1", "run.matched(ask:a:1)")
    room.prove()
