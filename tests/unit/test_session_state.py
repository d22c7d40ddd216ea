"""The state that is folded from a session's events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from events.envelope import Event
from events.session import Session
from events.turns import DEADLINE, Timer, text_digest
from events.types import (
    ModelAsked,
    ModelDiscarded,
    ModelReasked,
    RouteDecided,
    SessionClosed,
    SessionPaused,
    SessionResumed,
    TurnCancelled,
    TurnFailed,
)
from events.values import Blob
from tests.sessions import START, Driven


def folded(events: list[Event]) -> Session:
    session = Session("s1")
    for event in events:
        session.apply(event)
    return session


def test_before_anything_happened() -> None:
    session = Session("s1")
    assert (session.position, session.status, session.config, session.open) == (
        0,
        "none",
        None,
        None,
    )


def test_a_session_remembers_its_configurations() -> None:
    room = Driven(title="first")
    room.reconfigure(title="second")
    session = folded(room.log)
    assert session.first_config
    assert session.first_config.title == "first"
    assert session.config
    assert session.config.title == "second"
    assert (session.created_by, session.status, session.position) == ("user", "active", 2)


def test_status_follows_pause_resume_and_close() -> None:
    room = Driven()
    seen = []
    for change in (room.pause, room.resume, room.close):
        change()
        seen.append(folded(room.log).status)
    assert seen == ["paused", "active", "closed"]


def test_a_turn_goes_through_its_states() -> None:
    room = Driven(names="ab")
    room.post("one")
    room.post("two")
    room.post("three")
    session = folded(room.log)
    assert [turn.status for turn in session.turns.values()] == ["open", "queued", "queued"]
    assert session.turn_count == 3
    room.answer("ask:a:1")
    room.fail("ask:b:1")
    room.start("t2")
    room.fail("ask:a:1")
    room.fail("ask:b:1")
    room.cancel("t3")
    session = folded(room.log)
    assert [turn.status for turn in session.turns.values()] == ["completed", "failed", "cancelled"]
    one, two, three = session.turns.values()
    assert (one.queued_at, one.started_at, one.ended_at) == (None, 2, 9)
    assert (two.queued_at, two.started_at) == (5, 10)
    assert isinstance(two.end, TurnFailed)
    assert isinstance(three.end, TurnCancelled)
    assert (session.queue, session.open) == ([], None)
    assert not any(turn.timers for turn in session.turns.values())


def test_a_turn_keeps_the_configuration_that_it_began_with() -> None:
    room = Driven(names="ab", max_steps=7)
    room.post()
    room.reconfigure(max_steps=9)
    session = folded(room.log)
    assert session.open
    assert session.open.config
    assert session.open.config.max_steps == 7


def test_steps_hold_what_was_asked_and_what_came_of_it() -> None:
    room = Driven(names="ab")
    room.post()
    room.give(ModelReasked(attempt=2, reason="silence"), turn="t1", step="ask:b:1")
    room.answer("ask:a:1", "yes")
    session = folded(room.log)
    assert session.open
    first, second = session.open.steps["ask:a:1"], session.open.steps["ask:b:1"]
    assert (first.position, first.attempt, first.outcome_position) == (3, 1, 6)
    assert first.outcome == room.log[-1].data
    assert (second.position, second.attempt, second.outcome) == (4, 2, None)
    assert session.open.somebody_answered


def test_somebody_answered_means_in_public() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    room.post()
    room.answer("ask:a:1", "a plan")
    session = folded(room.log)
    assert session.open
    assert not session.open.somebody_answered


def test_the_last_ask_is_the_last_that_was_answered() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=3)
    room.post()
    turn = room.machine.session.turns["t1"]

    def last(participant: str) -> str | None:
        step = turn.last_ask(participant)
        return step.key if step else None

    assert (last("a"), last("b")) == ("ask:a:1", None)
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    room.answer("ask:a:2")
    room.fail("ask:b:2")
    room.fail("ask:a:3")
    assert (last("a"), last("b")) == ("ask:a:2", "ask:b:1")


def test_who_was_decided_on_last_is_the_last_speaker() -> None:
    room = Driven(routing_pattern="coordinator", coordinator="a")
    assert room.machine.session.last_speaker is None
    room.post()
    room.answer("ask:a:1", '{"participants": ["c", "b"]}')
    assert room.last(RouteDecided).participants == ("c", "b")
    assert folded(room.log).last_speaker == "b"


def test_a_command_is_remembered_with_what_it_did() -> None:
    room = Driven()
    room.give(SessionPaused(), by="user", command="c-1")
    room.give(SessionResumed(), by="user", command="c-2")
    room.give(SessionClosed(), by="user", command="c-1")  # a repetition that was let through
    done = folded(room.log).commands
    assert list(done) == ["c-1", "c-2"]
    assert (done["c-1"].position, done["c-1"].payload) == (2, SessionPaused())


def test_discarded_outcomes_are_remembered_by_attempt() -> None:
    room = Driven(names="a")
    room.post()
    room.answer("ask:a:1")
    room.give(ModelDiscarded(attempt=2, reason="duplicate"), turn="t1", step="ask:a:1")
    assert folded(room.log).discarded == {("t1", "ask:a:1", 2)}


def test_timers_run_from_their_event_and_stop_in_a_pause() -> None:
    timer = Timer(10, START)
    assert timer.remaining(START + timedelta(seconds=4)) == 6
    assert timer.remaining(START + timedelta(seconds=40)) == 0
    assert timer.remaining(START - timedelta(seconds=40)) == 10
    assert Timer(10, None, spent=3).remaining(START) == 7
    room = Driven(names="a", deadline=60)
    room.post()
    room.pause()
    session = folded(room.log)
    assert session.open
    assert session.open.timers[DEADLINE].armed_at is None
    assert session.open.timers[DEADLINE].spent == 1
    room.resume()
    session = folded(room.log)
    assert session.open
    assert session.open.timers[DEADLINE].armed_at == room.log[-1].at


def test_the_conversation_grows_at_its_end_but_for_retries() -> None:
    room = Driven(names="ab")
    room.post("one")
    room.answer("ask:b:1", "B1")
    room.answer("ask:a:1", "A1")
    session = folded(room.log)
    assert [entry.content for entry in session.entries] == ["one", "B1", "A1"]
    assert [entry.label for entry in session.entries] == ["", "B (b)", "A (a)"]
    assert session.revision == 0
    room.retry("t1", "b")
    room.answer("ask:b:1", "B2")
    session = folded(room.log)
    assert [entry.content for entry in session.entries] == ["one", "B1", "B2", "A1"]
    assert session.revision == 1
    assert session.origin("t2") == "t1"


def test_what_a_retry_says_twice_replaces_one_answer_only() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post("one")
    for key, text in (("ask:a:1", "A1"), ("ask:b:1", "B1"), ("ask:a:2", "A2"), ("ask:b:2", "B2")):
        room.answer(key, text)
    room.retry("t1", "a")
    room.answer("ask:a:1", "A2 again")
    shown = [e.content for e in room.machine.session.entries if e.superseded_at is None]
    assert shown == ["one", "A1", "B1", "A2 again", "B2"]


@pytest.mark.parametrize("text", ["", "plain", "Grüße 😀"])
def test_a_text_has_the_digest_of_its_blob(text: str) -> None:
    assert text_digest(text) == text_digest(Blob.of(text.encode())) == Blob.of(text.encode()).sha256


def test_every_event_of_a_log_folds_to_its_position() -> None:
    room = Driven(names="ab", routing_pattern="voting")
    room.post()
    while room.waiting:
        room.answer(room.waiting[0])
    session = Session("s1")
    for event in room.log:
        session.apply(event)
        assert session.position == event.position
    assert sum(isinstance(event.data, ModelAsked) for event in room.log) == 4
    assert vars(session) == vars(room.machine.session)
