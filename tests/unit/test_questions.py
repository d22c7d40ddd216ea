"""What a person says to a call of a tool, as a command."""

from __future__ import annotations

from typing import Any

import pytest

from actors.deciding import Decision, NotFound, decide
from actors.messages import AnswerElicitation, Approve
from actors.routing.turn import Turn
from events.errors import ConfigError, Refused
from events.tools import ApprovalDenied, ApprovalGranted, ElicitationAnswered, ElicitationRequested
from tests.sessions import Blobs, Driven, config
from tests.tool_calls import ADD, RISK, facts, returned, wants
from tests.unit.scripted import scripted

CALL, FREE = f"call:{RISK}:1", f"call:{ADD}:1"


def room() -> Driven:
    """A session in which one call waits for approval, and one does not."""
    blobs = Blobs()
    driven = Driven(facts=facts(blobs, "a"), blobs=blobs, session=config("a"))
    driven.post()
    driven.give(wants(RISK, ADD), turn="t1", step="ask:a:1")
    return driven


def approve(driven: Driven, granted: bool = True, **more: Any) -> Decision:
    fields = {"turn": "t1", "step": CALL, "id": "k1", "granted": granted} | more
    command = Approve.model_validate({"session": "s1", "by": "user:ada"} | fields)
    return carried_out(driven, command)


def answer(driven: Driven, **more: Any) -> Decision:
    fields = {"turn": "t1", "step": FREE, "id": "k2", "action": "accept", "content": {"n": 1}}
    command = AnswerElicitation.model_validate({"session": "s1", "by": "user:ada"} | fields | more)
    return carried_out(driven, command)


def carried_out(driven: Driven, command: Approve | AnswerElicitation) -> Decision:
    def nothing(*_: Any) -> Any:
        raise AssertionError

    decision = decide(driven.machine.session, command, ground=nothing, check=nothing)
    for given in decision.givens:
        driven.give(
            given.data, by=given.by, command=given.command, turn=given.turn, step=given.step
        )
    return decision


def elicit(driven: Driven, id: str) -> None:
    question = ElicitationRequested(attempt=1, id=id, message="How many?")
    driven.give(question, turn="t1", step=FREE)


def test_an_approval_is_granted_once_however_often_it_is_said() -> None:
    driven = room()
    assert approve(driven, reason="go").givens[0].data == ApprovalGranted(reason="go")
    assert driven.waiting == (CALL, FREE)
    again = approve(driven, reason="go")
    assert (again.givens, again.turn, again.state) == ((), "t1", "open")
    assert approve(driven, id="another").givens == ()
    with pytest.raises(Refused, match="granted already"):
        approve(driven, granted=False, id="third")
    with pytest.raises(ConfigError, match="Idempotency-Key 'k1' was used for another request"):
        approve(driven, granted=False)
    driven.give(returned(), turn="t1", step=CALL)
    assert approve(driven, id="late").givens == ()


def test_an_approval_is_denied_once() -> None:
    driven = room()
    assert approve(driven, granted=False, reason="no").givens[0].data == ApprovalDenied(reason="no")
    assert approve(driven, granted=False, id="another").givens == ()
    with pytest.raises(Refused, match="denied already"):
        approve(driven, id="third")


def test_what_nobody_asked_cannot_be_allowed() -> None:
    driven = room()
    with pytest.raises(NotFound, match="has no turn 't9'"):
        approve(driven, turn="t9")
    for step in ("ask:a:1", "call:none:1"):
        with pytest.raises(NotFound, match="has no call of a tool in step"):
            approve(driven, step=step)
    with pytest.raises(Refused, match="needs nobody's approval"):
        approve(driven, step=FREE)
    driven.cancel()
    with pytest.raises(Refused, match="not wanted any more: turn 't1' is over"):
        approve(driven)


async def _race(turn: Turn) -> Any:
    await turn.first(turn.ask("a", tools=False), turn.call(RISK, {}))
    return await turn.ask("a", tools=False)


def test_a_call_that_was_called_off_cannot_be_allowed() -> None:
    blobs = Blobs()
    driven = scripted(_race, facts=facts(blobs, "a"), blobs=blobs)
    driven.post()
    driven.answer("ask:a:1")
    with pytest.raises(Refused, match="not wanted any more: it was called off"):
        approve(driven)


def nested(levels: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(levels):
        tree = {"n": tree}
    return tree


@pytest.mark.parametrize(
    "content", [{"n": 2**64}, {"n": -(10**30)}, {"n": float("nan")}, {"n": [1e999]}, nested(300)]
)
def test_what_not_every_reader_of_json_takes_is_no_answer(content: dict[str, Any]) -> None:
    driven = room()
    elicit(driven, "e1")
    with pytest.raises(ConfigError, match="more than 64 bits, a number that is not finite"):
        answer(driven, content=content)
    assert answer(driven, content={"n": 2**63}).givens


def test_what_a_tool_asks_is_answered_once() -> None:
    driven = room()
    with pytest.raises(Refused, match="asks 0 questions: it has been answered, or is over"):
        answer(driven)
    elicit(driven, "e1")
    with pytest.raises(ConfigError, match="goes with the action 'accept' alone"):
        answer(driven, action="decline")
    with pytest.raises(ConfigError, match="may have 65536"):
        answer(driven, content={"n": "x" * 70_000})
    with pytest.raises(NotFound, match="has asked no 'e2'"):
        answer(driven, question="e2")
    said = answer(driven).givens[0].data
    assert said == ElicitationAnswered(id="e1", action="accept", content={"n": 1})
    assert answer(driven).givens == ()
    assert answer(driven, question="e1", id="another").givens == ()
    with pytest.raises(Refused, match="was answered already"):
        answer(driven, question="e1", id="third", action="cancel", content=None)
    elicit(driven, "e2")
    elicit(driven, "e3")
    with pytest.raises(Refused, match="asks 2 questions: name one of e2, e3"):
        answer(driven, id="fourth")
    driven.give(returned(), turn="t1", step=FREE)
    with pytest.raises(Refused, match="or its call is over"):
        answer(driven, question="e3", id="fifth")
