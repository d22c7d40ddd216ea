"""What becomes of tools' calls, as the router decides it."""

from __future__ import annotations

from typing import Literal

from actors.forms import MOST_QUESTIONS
from actors.messages import Outcome
from actors.returning import receive
from events.tools import ElicitationAnswered, ElicitationRequested
from tests.sessions import Driven
from tests.unit.test_questions import FREE, room


def ask(driven: Driven, id: str) -> Literal["asked", "counted", "dropped"]:
    """What becomes of a question that the tool's actor sends."""
    question = ElicitationRequested(attempt=1, id=id, message="How many?")
    outcome = Outcome(session="s1", turn="t1", step=FREE, attempt=1, elicited=question)
    turn = driven.machine.session.turns["t1"]
    decision = receive(driven.machine.session, outcome, turn, turn.steps[FREE])
    for given in decision.givens:
        driven.give(given.data, by=given.by, turn=given.turn, step=given.step)
    return "asked" if decision.givens else "counted" if decision.state else "dropped"


def test_questions_of_a_call_are_recorded_singly_and_not_without_end() -> None:
    driven = room()
    for number in range(MOST_QUESTIONS):
        assert ask(driven, f"e{number}") == "asked"
        assert ask(driven, f"e{number}") == "counted"
        assert ask(driven, "another") == "dropped"
        declined = ElicitationAnswered(id=f"e{number}", action="decline")
        driven.give(declined, by="user:ada", turn="t1", step=FREE)
    assert ask(driven, "one_more") == "dropped"
    assert ask(driven, "e0") == "counted"
