"""The session machine: tools that a client brings, and calls that a router makes itself."""

from __future__ import annotations

from typing import Any

import pytest

from actors.routing.steps import Failure, ToolResult
from actors.routing.turn import Turn
from events.tools import ToolCalled
from events.types import TurnCompleted, TurnFailed
from events.values import SPILL, Message
from tests.sessions import Blobs, Driven
from tests.tool_calls import ADD, FIND, Tooled, broken, facts, returned, wants
from tests.unit.scripted import scripted


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
