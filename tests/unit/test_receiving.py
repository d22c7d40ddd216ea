"""What an outcome becomes where its answer broke off after its beginning."""

from __future__ import annotations

from typing import Any

import pytest

from actors.deciding import Decision
from actors.messages import Outcome
from actors.receiving import REASKS, receive
from events.types import ModelDiscarded, ModelFailed, ModelReasked
from events.values import Usage
from tests.sessions import Driven, config, failed


def room(**wish: Any) -> Driven:
    models = [one.model_dump(mode="json") | wish for one in config("a").models]
    begun = Driven(models=models)
    begun.post()
    return begun


def outcome(attempt: int = 1, **rest: Any) -> Outcome:
    data = failed("the stream was cut", attempt=attempt, **rest)
    return Outcome(session="s1", turn="t1", step="ask:a:1", attempt=attempt, failed=data)


def take(begun: Driven, decision: Decision) -> list[str]:
    for given in decision.givens:
        begun.give(given.data, turn=given.turn, step=given.step)
    return [given.data.type for given in decision.givens]


def test_it_is_asked_for_again_where_that_is_wanted() -> None:
    begun = room(retry_begun=True)
    decision = receive(begun.machine.session, outcome(partial="The ", duration_ms=250))
    assert take(begun, decision) == ["model.discarded", "model.reasked"]
    broken, again = begun.last(ModelDiscarded), begun.last(ModelReasked)
    assert (broken.reason, broken.partial, broken.attempt) == ("broken_off", "The ", 1)
    assert broken.duration_ms == 250
    assert again.attempt == 2
    assert "the stream was cut" in again.reason
    assert begun.answer("ask:a:1", "The log.", attempt=2).endswith("turn.completed")
    begun.prove()


def test_also_where_it_was_worked_on_and_nothing_came() -> None:
    begun = room(retry_begun=True)
    decision = receive(begun.machine.session, outcome(accepted=True, usage=Usage(input=10)))
    assert take(begun, decision) == ["model.discarded", "model.reasked"]
    broken = begun.last(ModelDiscarded)
    assert (broken.reason, broken.partial, broken.usage) == ("broken_off", None, Usage(input=10))
    begun.prove()


def test_the_same_outcome_again_changes_nothing() -> None:
    begun = room(retry_begun=True)
    take(begun, receive(begun.machine.session, outcome(partial="The ")))
    assert not receive(begun.machine.session, outcome(partial="The ")).givens


def test_not_without_end() -> None:
    begun = room(retry_begun=True)
    for attempt in range(1, REASKS + 1):
        take(begun, receive(begun.machine.session, outcome(attempt, partial="The ")))
    last = receive(begun.machine.session, outcome(REASKS + 1, partial="The "))
    assert take(begun, last) == ["model.failed"]
    begun.prove()


@pytest.mark.parametrize(
    ("wish", "rest"),
    [
        ({}, {"partial": "The "}),
        ({"retry_begun": True}, {}),
        ({"retry_begun": True}, {"partial": "The ", "retryable": False}),
        ({"retry_begun": True}, {"accepted": True, "retryable": False}),
        ({}, {"accepted": True}),
    ],
    ids=["not-wanted", "not-accepted", "not-retryable", "not-retryable-mute", "not-wanted-mute"],
)
def test_otherwise_it_has_failed(wish: dict[str, Any], rest: dict[str, Any]) -> None:
    begun = room(**wish)
    decision = receive(begun.machine.session, outcome(**rest))
    assert [type(given.data) for given in decision.givens] == [ModelFailed]
