"""The session machine: which calls of tools are made, which are refused, and how many."""

from __future__ import annotations

import pytest

from actors.routing.tool_loop import AT_ONCE, TOLD, token
from events.errors import Refused
from events.tools import ToolCalled, ToolRefused
from tests.sessions import config
from tests.tool_calls import ADD, FIND, Tooled, returned, tool


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


def test_a_tool_is_told_by_name_whatever_it_is_called() -> None:
    assert token(ADD) == ADD
    names = ["", "a b", "a/b", "ü" * 70, "a" * 65, "\ud800", "a.b>"]
    tokens = [token(name) for name in names]
    assert len({*tokens}) == len(names)
    for one in tokens:
        assert token(one) == one
    assert tool(ADD)["name"] == ADD
