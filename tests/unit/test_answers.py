from __future__ import annotations

from decimal import Decimal

import pytest

from actors.deciding import NotFound
from events.types import ModelAnswered, ModelDiscarded
from events.values import Blob, Cost, Usage
from projections.answers import TurnView, turn_view
from tests.session_logs import SessionLog, answered, failed, polite, session_config


def view(log: SessionLog, turn: str) -> TurnView:
    return turn_view(log.events, turn, log.load)


def test_a_broadcast_has_everyones_answer_in_the_order_of_the_session() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.outcome("ask:cyd:1", answered("third", cost="0.25", reasoning="hm", served_model="c-9"))
    log.outcome("ask:ada:1", answered("first", first_token_ms=3.5))
    log.outcome("ask:bob:1", answered("second"))

    seen = view(log, turn)

    assert seen.status == "completed"
    assert seen.answer is None
    assert [(one.participant, one.text) for one in seen.answers] == [
        ("ada", "first"),
        ("bob", "second"),
        ("cyd", "third"),
    ]
    cyd = seen.answers[2]
    assert (cyd.role, cyd.model, cyd.provider) == ("cyd's role", "cyd-1", "acme")
    assert (cyd.step, cyd.purpose, cyd.reasoning) == ("ask:cyd:1", "answer", "hm")
    assert (cyd.served_model, cyd.usage) == ("c-9", Usage(input=10, output=5))
    assert cyd.cost is not None
    assert str(cyd.cost.amount) == "0.25"
    assert seen.answers[0].first_token_ms == 3.5
    assert seen.position == log.events[-1].position
    assert TurnView.model_validate_json(seen.model_dump_json()) == seen


def test_one_answer_of_a_broadcast_is_the_turns_answer_and_the_others_failures_are_told() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.outcome("ask:ada:1", failed("no key", error="AuthenticationFailed", retryable=False))
    log.outcome("ask:bob:1", answered("only me"))
    log.outcome("ask:cyd:1", failed())

    seen = view(log, turn)

    assert (seen.status, seen.answer) == ("completed", "only me")
    assert [(f.participant, f.step, f.error, f.message, f.retryable) for f in seen.failures] == [
        ("ada", "ask:ada:1", "AuthenticationFailed", "no key", False),
        ("cyd", "ask:cyd:1", "ProviderUnavailable", "the provider is down", True),
    ]


def test_a_turn_on_its_way_shows_what_is_there() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    later = log.post("and then?")
    log.outcome("ask:bob:1", answered("quick"))

    seen = view(log, turn)

    assert (seen.status, [one.text for one in seen.answers]) == ("open", ["quick"])
    assert view(log, later).status == "queued"
    assert view(log, later).answers == ()


def test_a_coordinators_plan_is_a_decision_and_its_synthesis_the_answer() -> None:
    log = SessionLog(session_config(pattern="coordinator"))
    turn = log.post("hello")
    log.play(polite)

    seen = view(log, turn)

    assert seen.answer == "ada says so (ask:ada:3)"
    assert [(one.participant, one.purpose) for one in seen.answers] == [
        ("ada", "synthesis"),
        ("bob", "answer"),
        ("cyd", "answer"),
    ]
    assert [one.type for one in seen.decisions] == ["route.decided"]
    assert seen.decisions[0].data.model_dump()["participants"] == ("ada", "bob", "cyd")


def test_a_vote_shows_ballots_and_count_and_answers_with_the_winner() -> None:
    log = SessionLog(session_config(pattern="voting"))
    turn = log.post("hello")
    log.play(polite)

    seen = view(log, turn)

    # Everyone votes for the first candidate who is not themselves: ada twice, bob once.
    assert seen.answer == "ada says so (ask:ada:1)"
    types = [one.type for one in seen.decisions]
    assert types == ["vote.cast", "vote.cast", "vote.cast", "votes.tallied"]
    assert seen.decisions[3].data.model_dump()["winner"] == "ada"
    assert {one.purpose for one in seen.answers} == {"proposal"}
    assert TurnView.model_validate_json(seen.model_dump_json()) == seen


def test_a_participants_last_answer_of_several_counts() -> None:
    log = SessionLog(session_config(pattern="round_robin", rounds=2, participants=("ada", "bob")))
    turn = log.post("hello")
    log.play(lambda key, asked: answered(key))

    seen = view(log, turn)

    assert [one.text for one in seen.answers] == ["ask:ada:2", "ask:bob:2"]
    assert seen.answer == "ask:bob:2"


def test_a_failed_turn_says_why() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.play(lambda key, asked: failed(f"{asked.participant} is out"))

    seen = view(log, turn)

    assert seen.status == "failed"
    assert seen.problem is not None
    assert seen.problem.reason == "nobody_answered"
    assert "ada is out" in seen.problem.message
    assert len(seen.failures) == 3


def test_a_cancelled_turn_keeps_what_was_answered() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.outcome("ask:ada:1", answered("in time"))
    log.cancel(turn, "changed my mind")

    seen = view(log, turn)

    assert seen.status == "cancelled"
    assert seen.problem is not None
    assert (seen.problem.reason, seen.problem.message) == ("cancelled", "changed my mind")
    assert [one.text for one in seen.answers] == ["in time"]
    assert (seen.failures, seen.discarded) == ((), ())


def test_what_was_called_off_shows_what_it_used() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.cancel(turn)
    usage, cost = Usage(input=3, output=2), Cost(amount=Decimal("0.5"), prices="list-1")
    log.give(
        ModelDiscarded(attempt=1, reason="cancelled", partial="so", usage=usage, cost=cost),
        turn,
        "ask:bob:1",
    )

    [seen] = view(log, turn).discarded

    assert (seen.participant, seen.step, seen.attempt) == ("bob", "ask:bob:1", 1)
    assert (seen.reason, seen.usage, seen.cost) == ("cancelled", usage, cost)


def test_long_texts_are_read_and_only_those() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    long = log.blobs.put(b"so long " * 10_000)
    log.outcome("ask:ada:1", answered(long, reasoning=long))
    log.outcome("ask:bob:1", failed())
    log.outcome("ask:cyd:1", failed())
    read: list[Blob] = []

    def load(blob: Blob) -> str:
        read.append(blob)
        return log.load(blob)

    seen = turn_view(log.events, turn, load)

    assert seen.answer == seen.answers[0].text == seen.answers[0].reasoning == "so long " * 10_000
    assert set(read) == {long}


def test_a_turn_keeps_the_roles_that_it_was_started_with() -> None:
    log = SessionLog(session_config(participants=("ada",)))
    before = log.post("hello")
    log.reconfigure(
        models=[{"id": "ada", "provider": "acme", "model_name": "ada-2", "role": "the new role"}]
    )
    log.play(lambda key, asked: answered("yes"))
    after = log.post("again")
    log.play(lambda key, asked: answered("yes"))

    assert (view(log, before).answers[0].role, view(log, before).answers[0].model) == (
        "ada's role",
        "ada-1",
    )
    assert (view(log, after).answers[0].role, view(log, after).answers[0].model) == (
        "the new role",
        "ada-2",
    )


def test_the_events_of_the_turn_are_enough_where_the_configuration_is_given() -> None:
    log = SessionLog(session_config())
    log.post("first")
    log.play()
    begin = len(log.events)
    turn = log.post("second")
    log.play()

    assert turn_view(log.events[begin:], turn, log.load, log.config) == view(log, turn)


def test_a_retry_is_a_turn_of_its_own() -> None:
    log = SessionLog(session_config())
    turn = log.post("hello")
    log.play()
    again = log.retry(turn, "bob")
    log.play(lambda key, asked: answered("better"))

    assert [(one.participant, one.text) for one in view(log, again).answers] == [("bob", "better")]
    assert view(log, again).answer == "better"
    assert view(log, turn).answers[1].text == "bob says so (ask:bob:1)"


def test_an_unknown_turn_is_an_error_that_names_it() -> None:
    log = SessionLog(session_config())
    with pytest.raises(NotFound, match="'t9'"):
        view(log, "t9")


def test_what_was_discarded_is_no_answer() -> None:
    log = SessionLog(session_config(participants=("ada", "bob")))
    turn = log.post("hello")
    log.outcome("ask:ada:1", answered("first"))
    late = answered("late")
    log.give(
        ModelDiscarded(attempt=2, reason="duplicate", partial=late.text, usage=late.usage),
        turn,
        "ask:ada:1",
    )
    log.play()
    assert isinstance(log.events[-2].data, ModelAnswered)
    assert view(log, turn).answers[0].text == "first"
