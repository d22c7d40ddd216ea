"""The session machine: participants call tools before they answer."""

from __future__ import annotations

from typing import Any

import pytest

from actors.routing.steps import Answer, Failure, ToolResult
from actors.routing.tool_loop import AT_ONCE, TOLD, token
from actors.routing.turn import Turn
from events.errors import Refused
from events.tools import ToolCalled, ToolCancelled, ToolRefused
from events.types import ModelAsked, TurnCompleted, TurnFailed
from events.values import SPILL, Blob, Message
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, FIND, broken, facts, offered, returned, tool, wants
from tests.unit.scripted import scripted


class Tooled(Driven):
    """A session whose participants have tools."""

    def __init__(self, names: str = "a", with_tools: str = "abc", **changes: Any) -> None:
        blobs = Blobs()
        known = facts(blobs, with_tools)
        super().__init__(facts=known, blobs=blobs, session=config(names, **changes))

    def wants(self, step: str, *names: str, **rest: Any) -> str:
        return self.give(wants(*names, **rest), by="model", turn=self.turn, step=step)

    def returns(self, step: str, text: str = "42", **rest: Any) -> str:
        return self.give(returned(text, **rest), by="tool", turn=self.turn, step=step)


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


def test_after_so_many_rounds_an_answer_without_calls_is_wanted() -> None:
    room = Tooled(models=[config("a").models[0].model_dump() | {"tool_rounds": 2}])
    room.post()
    for n in (1, 2):
        room.wants(f"ask:a:{n}", ADD)
        room.returns(f"call:calc__add:{n}")
    last = room.asked("ask:a:3")
    assert (last.tool_choice, last.continues) == ("none", "ask:a:2")
    assert last.tools == room.asked("ask:a:1").tools
    assert room.wants("ask:a:3", ADD, text="So be it.").endswith("(ask:a:3) turn.completed")
    assert room.machine.session.entries[-1].content == "So be it."
    room.prove()


def test_what_is_not_offered_is_refused_and_told() -> None:
    room = Tooled()
    room.post()
    strange = "Ünknown tool/" + "x" * 300
    told = room.wants("ask:a:1", "calc__sub", strange, ADD)
    assert told == (
        "model.answered(ask:a:1) tool.refused(call:calc__sub:1) "
        f"tool.refused(call:{token(strange[:256])}:1) tool.called(call:calc__add:1)"
    )
    assert room.data(ToolRefused)[0].reason == (
        "there is no tool 'calc__sub': there are calc__add, files__delete, files__find"
    )
    assert len(room.data(ToolRefused)[1].use.name) == 256
    assert room.returns("call:calc__add:1").endswith("model.asked(ask:a:2)")
    assert room.wants("ask:a:2", "none__such").endswith(
        "tool.refused(call:none__such:1) model.asked(ask:a:3)"
    )
    room.answer("ask:a:3")
    room.prove()


def test_calls_beyond_a_bound_are_refused() -> None:
    room = Tooled(max_steps=200)
    room.post()
    room.wants("ask:a:1", *[ADD] * 1000)
    assert len(room.data(ToolCalled)) == AT_ONCE
    refused = room.data(ToolRefused)
    assert len(refused) == TOLD - AT_ONCE
    assert {one.reason for one in refused} == {"at most 32 calls are made at once: call it again"}
    for n in range(1, AT_ONCE + 1):
        room.returns(f"call:calc__add:{n}")
    assert room.answer("ask:a:2").endswith("turn.completed")
    room.prove()


def test_calls_that_go_by_the_same_id_are_told_apart() -> None:
    room = Tooled()
    room.post()
    room.wants("ask:a:1", ADD, ADD, ADD, ids={1: "same", 2: "same", 3: ""})
    ids = [one.use.call_id for one in room.data(ToolCalled)]
    assert ids == ["same", "ask_a_1_2", "ask_a_1_3"]
    assert [step.key for step in room.machine.session.turns["t1"].calls_of("ask:a:1")] == [
        "call:calc__add:1",
        "call:calc__add:2",
        "call:calc__add:3",
    ]


def test_loops_never_take_the_turn_over_its_steps() -> None:
    room = Tooled("ab", max_steps=9)
    room.post()
    room.wants("ask:a:1", *[ADD] * 30)
    calls = room.data(ToolCalled)
    assert len(calls) == 9 - 2 - 2 - 2
    assert "no steps left" in room.last(ToolRefused).reason
    room.wants("ask:b:1", ADD, FIND)
    assert room.data(ToolCalled) == calls
    assert room.asked("ask:b:2").tool_choice == "none"
    room.answer("ask:b:2")
    for n in range(1, len(calls) + 1):
        room.returns(f"call:calc__add:{n}")
    assert room.asked("ask:a:2").tool_choice == "none"
    assert room.answer("ask:a:2").endswith("turn.completed")
    room.prove()


def test_an_outcome_fits_only_a_call_that_is_open() -> None:
    room = Tooled()
    room.post()
    for step in ("ask:a:1", "call:calc__add:1", "call:none:1"):
        with pytest.raises(Refused, match="no such tool was called"):
            room.returns(step)
    room.wants("ask:a:1", ADD, "none__such")
    with pytest.raises(Refused, match="no such tool was called"):
        room.returns("call:none__such:1")
    room.returns("call:calc__add:1")
    with pytest.raises(Refused, match="the call has an outcome"):
        room.returns("call:calc__add:1")
    room.answer("ask:a:2")
    with pytest.raises(Refused, match="the turn is not open"):
        room.give(returned(), turn="t1", step="call:calc__add:1")


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


def test_a_clients_own_tools_are_called_by_the_client() -> None:
    room = Tooled("a")
    own = room.blobs.put(
        b'[{"name":"calc__add","parameters":{}},{"name":"weather","parameters":{}}]',
        "application/json",
    )
    room.start("t1", Message(content="Hello", tools=own))
    asked = room.asked("ask:a:1")
    assert asked.client_tools == (ADD, "weather")
    assert asked.tools is not None
    listed = room.blobs.load(asked.tools)
    assert [name in listed for name in ("does calc__add", "weather", "does files__find")] == [
        False,
        True,
        True,
    ]
    assert room.wants("ask:a:1", FIND).endswith("tool.called(call:files__find:1)")
    room.returns("call:files__find:1")
    assert room.wants("ask:a:2", "weather", FIND) == "model.answered(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:a:2"
    room.prove()


def test_a_client_may_bring_tools_to_participants_that_have_none() -> None:
    room = Driven(names="a")
    own = room.blobs.put(b'[{"name":"weather","parameters":{}}]', "application/json")
    room.start("t1", Message(content="Hello", tools=own))
    assert room.asked("ask:a:1").tools == own
    told = room.give(wants("wether"), turn="t1", step="ask:a:1")
    assert told.endswith("tool.refused(call:wether:1) model.asked(ask:a:2)")
    room.give(wants("weather", text="One moment."), turn="t1", step="ask:a:2")
    assert room.machine.session.entries[-1].content == "One moment."
    room.retry("t1", "a")
    assert room.asked("ask:a:1", "t2").tools == own
    room.prove()


def test_a_router_calls_tools_itself() -> None:
    async def route(turn: Turn) -> str:
        got = await turn.gather(
            turn.call(ADD, {"b": 1, "a": "ü"}), turn.call("no__tool", {}), turn.call(FIND, {})
        )
        first, second, third = got
        assert isinstance(first, ToolResult)
        assert isinstance(second, Failure)
        assert isinstance(third, Failure)
        return f"{first.text}/{first.structured}/{first.is_error} {second.error} {third.message}"

    blobs = Blobs()
    room = scripted(route, facts=facts(blobs, "b"), blobs=blobs)
    assert room.post() == (
        "turn.started tool.called(call:calc__add:1) tool.refused(call:no__tool:1) "
        "tool.called(call:files__find:1)"
    )
    use = room.data(ToolCalled)[0].use
    assert (use.participant, use.asked_in, use.arguments) == (None, None, '{"b":1,"a":"ü"}')
    long = room.blobs.put(b"long " * SPILL)
    room.give(broken("its server died"), turn="t1", step="call:files__find:1")
    room.give(
        returned(long, structured='{"n":1}', is_error=True), turn="t1", step="call:calc__add:1"
    )
    text = room.last(TurnCompleted).answer
    said = text if isinstance(text, str) else room.blobs.load(text)
    assert said.endswith('/{"n":1}/True ToolRefused its server died')
    room.prove()


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda turn: turn.call(1, {}), "the name of a tool is a str, not int"),
        (lambda turn: turn.call(ADD, []), "the arguments of a call are a dict, not list"),
        (lambda turn: turn.call(ADD, {"a": object()}), "the arguments of a call are JSON"),
        (lambda turn: turn.call(ADD, {"a": "x" * 1_000_001}), "at most 1000000 bytes"),
    ],
)
def test_what_cannot_be_called_is_said(call: Any, why: str) -> None:
    async def route(turn: Turn) -> Any:
        return await call(turn)

    room = scripted(route)
    room.post()
    assert why in room.last(TurnFailed).message


def test_an_older_engine_offers_no_tools() -> None:
    blobs = Blobs()
    room = Driven(facts=facts(blobs, "a"), blobs=blobs, engine=2)
    room.post()
    assert [one.tools for one in room.data(ModelAsked)] == [None, None, None]
    room.give(wants(ADD, text="Said."), turn="t1", step="ask:a:1")
    assert room.machine.session.entries[-1].content == "Said."


def test_a_tool_is_told_by_name_whatever_it_is_called() -> None:
    assert token(ADD) == ADD
    names = ["", "a b", "a/b", "ü" * 70, "a" * 65, "\ud800", "a.b>"]
    tokens = [token(name) for name in names]
    assert len({*tokens}) == len(names)
    for one in tokens:
        assert token(one) == one
    assert tool(ADD)["name"] == ADD
