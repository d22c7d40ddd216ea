"""The session machine: a person allows calls of tools, and answers what tools ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from actors.routing.steps import Failure, ToolResult
from actors.routing.turn import Turn
from events.errors import Refused
from events.payload import Input
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
    ToolRefused,
)
from events.turns import DEADLINE
from events.types import TurnCompleted
from events.values import ToolCall
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, RISK, facts, offered, returned, wants
from tests.unit.scripted import scripted

CALL = f"call:{RISK}:1"


def room(**changes: Any) -> Driven:
    """A session of one whose call of a tool waits for approval."""
    blobs = Blobs()
    driven = Driven(facts=facts(blobs, "ab"), blobs=blobs, session=config("a", **changes))
    driven.post()
    driven.give(wants(RISK, ADD), turn="t1", step="ask:a:1")
    return driven


def say(driven: Driven, data: Input, step: str = CALL) -> str:
    return driven.give(data, by="user:ada", turn="t1", step=step)


def elicited(id: str = "e1") -> ElicitationRequested:
    return ElicitationRequested(attempt=1, id=id, message="Which city?", form={"type": "object"})


def answered(id: str = "e1") -> ElicitationAnswered:
    return ElicitationAnswered(id=id, action="accept", content={"city": "Rome"})


def test_a_call_is_made_when_a_person_has_allowed_it() -> None:
    driven = room()
    wanted = driven.last(ApprovalRequested)
    assert (wanted.server, wanted.tool, wanted.use.name) == ("files", "delete", RISK)
    assert [one.tool for one in driven.data(ToolCalled)] == ["add"]
    assert say(driven, ApprovalGranted(reason="it is old")) == (
        f"approval.granted({CALL}) tool.called({CALL})"
    )
    assert driven.last(ToolCalled).model_dump() == wanted.model_dump()
    driven.give(returned(), turn="t1", step=f"call:{ADD}:1")
    assert driven.give(returned(), turn="t1", step=CALL).endswith("model.asked(ask:a:2)")
    driven.answer("ask:a:2")
    driven.prove()


def test_what_a_person_does_not_allow_is_not_made() -> None:
    driven = room()
    assert say(driven, ApprovalDenied(reason="too dangerous")) == f"approval.denied({CALL})"
    assert driven.give(returned(), turn="t1", step=f"call:{ADD}:1").endswith("asked(ask:a:2)")
    steps = driven.machine.session.turns["t1"].calls_of("ask:a:1")
    assert [type(step.outcome).__name__ for step in steps] == ["ApprovalDenied", "ToolReturned"]
    driven.answer("ask:a:2")
    driven.prove()


PICKY = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["path"]}
UNFIT = 'the arguments do not fit: "path" is missing; n: 1 is not of type string'


def picky(engine: int = 4) -> Driven:
    """A room as above, whose tools want other arguments than the model gives."""
    blobs = Blobs()
    tools = offered(blobs, schemas={RISK: PICKY, ADD: PICKY})
    driven = Driven(facts={"a": {"tools": tools}}, blobs=blobs, session=config("a"), engine=engine)
    driven.post()
    return driven


def test_nobody_is_asked_about_arguments_that_cannot_fit() -> None:
    driven = picky()
    told = driven.give(wants(RISK, ADD), turn="t1", step="ask:a:1")
    assert told.endswith(f"tool.refused({CALL}) tool.called(call:{ADD}:1)")
    assert driven.last(ToolRefused).reason == UNFIT
    assert not driven.machine.session.turns["t1"].asks_person
    driven.give(returned(), turn="t1", step=f"call:{ADD}:1")
    _, messages = driven.request("ask:a:2")
    assert f"Error: {UNFIT}" in [text for _, text in messages]
    mended = (ToolCall(id="c9", name=RISK, arguments='{"path": "/a", "n": "1"}'),)
    again = wants().model_copy(update={"tool_calls": mended})
    second = f"call:{RISK}:2"
    assert driven.give(again, turn="t1", step="ask:a:2").endswith(f"approval.requested({second})")
    say(driven, ApprovalDenied(), second)
    driven.answer("ask:a:3")
    driven.prove()


def test_version_3_asks_about_any_arguments() -> None:
    driven = picky(engine=3)
    assert driven.give(wants(RISK), turn="t1", step="ask:a:1").endswith(
        f"approval.requested({CALL})"
    )
    say(driven, ApprovalDenied())
    driven.answer("ask:a:2")
    driven.prove()


def test_a_script_is_told_that_its_arguments_cannot_fit() -> None:
    got: list[Failure | ToolResult] = []

    async def route(turn: Turn) -> None:
        got.append(await turn.call(RISK, {"n": 1}))

    blobs = Blobs()
    known = {"a": {"tools": offered(blobs, schemas={RISK: PICKY})}}
    driven = scripted(route, facts=known, blobs=blobs, names="a")
    driven.post()
    (failure,) = got
    assert isinstance(failure, Failure)
    assert (failure.error, failure.message) == ("ToolRefused", UNFIT)
    driven.prove()


def test_a_decision_fits_only_an_open_question() -> None:
    driven = room()
    for step in (f"call:{ADD}:1", "ask:a:1", "call:none:1"):
        with pytest.raises(Refused, match="nobody was asked to allow that"):
            say(driven, ApprovalGranted(), step)
    with pytest.raises(Refused, match="no such tool was called"):
        driven.give(returned(), turn="t1", step=CALL)
    say(driven, ApprovalGranted())
    for decision in (ApprovalGranted(), ApprovalDenied()):
        with pytest.raises(Refused, match="that was decided before"):
            say(driven, decision)
    driven.give(returned(), turn="t1", step=CALL)
    with pytest.raises(Refused, match="that was decided before"):
        say(driven, ApprovalDenied())
    driven.cancel()
    with pytest.raises(Refused, match="the turn is not open"):
        say(driven, ApprovalDenied())


def test_the_deadline_stands_still_while_a_person_is_asked() -> None:
    driven = room(deadline=60)
    late = driven.at + timedelta(hours=8)
    before = driven.machine.timers[DEADLINE].remaining(driven.at)
    assert before == 60 - 1  # the answer came a second after the turn began
    with pytest.raises(Refused, match="stands still while a person is asked"):
        driven.fire(DEADLINE)
    driven.give(returned(), turn="t1", step=f"call:{ADD}:1", at=late)
    assert driven.machine.timers[DEADLINE].remaining(late) == before
    say(driven, ApprovalGranted())
    deadline = driven.machine.timers[DEADLINE]
    assert deadline.remaining(driven.at + timedelta(seconds=10)) == before - 11
    assert "turn.failed" in driven.fire(DEADLINE)
    driven.prove()


def test_a_pause_and_a_question_both_stop_the_deadline() -> None:
    driven = room(deadline=60)
    driven.pause()
    assert say(driven, ApprovalGranted()) == f"approval.granted({CALL})"
    assert driven.machine.timers[DEADLINE].armed_at is None
    assert driven.resume() == f"session.resumed tool.called({CALL})"
    assert driven.machine.timers[DEADLINE].armed_at is not None
    driven.cancel()
    driven.prove()
    driven = room(deadline=60)
    driven.pause()
    driven.resume()
    deadline = driven.machine.timers[DEADLINE]
    assert (deadline.armed_at, deadline.spent) == (None, 1)
    say(driven, ApprovalDenied())
    assert driven.machine.timers[DEADLINE].armed_at is not None
    driven.prove()


def test_what_a_pause_holds_back_can_be_called_off() -> None:
    driven = room()
    driven.pause()
    say(driven, ApprovalGranted())
    assert driven.cancel() == (
        f"turn.cancelled tool.cancelled({CALL}) tool.cancelled(call:{ADD}:1)"
    )
    driven.prove()


def test_a_tool_asks_the_person_while_it_works() -> None:
    driven = room(deadline=60)
    say(driven, ApprovalGranted())
    assert say(driven, elicited()) == f"elicitation.requested({CALL})"
    assert driven.machine.timers[DEADLINE].armed_at is None
    for wrong, why in (
        (elicited(), "that was asked before"),
        (answered("e2"), "nobody is asked that"),
    ):
        with pytest.raises(Refused, match=why):
            say(driven, wrong)
    with pytest.raises(Refused, match="no such tool was called"):
        say(driven, elicited(), "call:none:1")
    assert say(driven, answered()) == f"elicitation.answered({CALL})"
    assert driven.machine.timers[DEADLINE].armed_at is not None
    with pytest.raises(Refused, match="nobody is asked that"):
        say(driven, answered())
    say(driven, elicited("e2"))
    driven.give(returned(), turn="t1", step=CALL)
    assert driven.machine.timers[DEADLINE].armed_at is not None
    with pytest.raises(Refused, match="nobody is asked that"):
        say(driven, answered("e2"))
    driven.give(returned(), turn="t1", step=f"call:{ADD}:1")
    driven.answer("ask:a:2")
    driven.prove()


def test_a_router_is_told_what_a_person_denies() -> None:
    async def route(turn: Turn) -> str:
        first = await turn.call(RISK, {})
        second = await turn.call(RISK, {})
        assert isinstance(first, Failure)
        assert isinstance(second, ToolResult)
        return f"{first.error}: {first.message}; {second.text}"

    blobs = Blobs()
    known = facts(blobs, "ab")
    known["a"]["tools"]["calls"][RISK]["approval"] = False  # one of them needs it
    driven = scripted(route, facts=known, blobs=blobs)
    driven.post()
    assert say(driven, ApprovalDenied(reason="not that")).endswith(
        "approval.requested(call:files__delete:2)"
    )
    say(driven, ApprovalGranted(), "call:files__delete:2")
    driven.give(returned("gone"), turn="t1", step="call:files__delete:2")
    assert driven.last(TurnCompleted).answer == (
        "ApprovalDenied: it was not allowed: not that; gone"
    )
    driven.prove()
