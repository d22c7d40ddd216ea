"""The example scripts do what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.scripts import collect, load
from events.tools import ToolCalled
from events.types import ModelAsked, RouteDecided, TurnCompleted, TurnFailed
from tests.sessions import Blobs, Driven
from tests.tool_calls import broken, offered, returned

EXAMPLES = Path(__file__).parents[2] / "examples" / "scripts"


def scripted(directory: Path, entry: str, **changes: Any) -> Driven:
    """A session that is routed by a script, as the room would do it."""
    room = Driven(
        scripts=lambda blob, name: load(room.blobs.contents[blob.sha256], name),
        **{"routing_pattern": "script", "script": entry} | changes,
    )
    room.source = room.blobs.put(collect(directory, entry), "application/json")
    return room


def test_the_writer_and_the_critic() -> None:
    room = scripted(EXAMPLES, "critic:route", names=["writer", "critic"])
    room.post("A haiku about logs, please.")
    assert room.answer("ask:writer:1", "draft one").endswith("model.asked(ask:critic:1)")
    assert room.answer("ask:critic:1", "too short").endswith("model.asked(ask:writer:2)")
    _, messages = room.request("ask:writer:2")
    assert "too short" in messages[-1][1]
    assert room.answer("ask:writer:2", "draft two").endswith("model.asked(ask:critic:2)")
    assert room.answer("ask:critic:2", '"Good."').endswith("route.decided turn.completed")
    assert room.last(TurnCompleted).answer_from == "ask:writer:2"
    assert room.last(RouteDecided).reason == "critic is content with draft 2"
    room.prove()


def test_the_writer_may_try_three_times() -> None:
    room = scripted(EXAMPLES, "critic:route", names=["writer", "critic"])
    room.post()
    while room.waiting:
        room.answer(room.waiting[0], "no")
    assert [d.participant for d in room.data(ModelAsked)] == ["writer", "critic"] * 2 + ["writer"]
    assert room.last(TurnCompleted).answer_from == "ask:writer:3"
    room.prove()


def test_without_its_critic_the_draft_stands_and_without_its_writer_there_is_none() -> None:
    room = scripted(EXAMPLES, "critic:route", names=["writer", "critic"])
    room.post()
    room.answer("ask:writer:1", "draft")
    room.fail("ask:critic:1")
    assert room.last(RouteDecided).fallback == "critic failed"
    assert room.last(TurnCompleted).answer_from == "ask:writer:1"
    room.post()
    assert room.fail("ask:writer:1").endswith("turn.failed")
    room.prove()


def test_the_example_says_whom_it_needs() -> None:
    room = scripted(EXAMPLES, "critic:route", names=["writer"])
    room.post()
    assert "needs two participants: a writer and a critic" in room.last(TurnFailed).message


def test_the_time_is_looked_up_before_anybody_is_asked() -> None:
    blobs = Blobs()
    known = {"planner": {"tools": offered(blobs, ["time__get_current_time"], approve=())}}
    room = scripted(EXAMPLES, "clock:route", names=["planner"], facts=known, blobs=blobs)
    call = "call:time__get_current_time:1"
    assert room.post("When is lunch?").endswith(f"tool.called({call})")
    assert room.last(ToolCalled).use.arguments == '{"timezone":"UTC"}'
    told = room.give(returned("11:59"), turn="t1", step=call)
    assert told.endswith("model.asked(ask:planner:1)")
    assert "The time is now: 11:59" in room.request("ask:planner:1")[1][-1][1]
    assert room.answer("ask:planner:1", "In a minute.").endswith("turn.completed")
    room.post("And now?")
    room.give(broken("its server is down"), turn="t2", step=call)
    shown = room.request("ask:planner:1")[1][-1][1]
    assert "Nobody could say what time it is: its server is down" in shown
    room.answer("ask:planner:1")
    room.prove()
