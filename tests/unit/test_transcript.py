from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from events.errors import ConfigError
from events.session import Session
from events.types import ModelAsked, RouteDecided, VotesTallied
from events.values import Attachment
from projections.entries import (
    AnswerEntry,
    AnyEntry,
    DecisionEntry,
    EndEntry,
    FailureEntry,
    MessageEntry,
    Transcript,
)
from tests.projected import project
from tests.session_logs import Outcome, SessionLog, answered, failed, session_config


def conversation(log: SessionLog) -> list[tuple[int, int | None]]:
    """What the session itself holds for the conversation: positions, and what replaced them."""
    session = Session(log.stream)
    for event in log.events:
        session.apply(event)
    return [(entry.position, entry.superseded_at) for entry in session.entries]


def spoken(entries: tuple[AnyEntry, ...]) -> list[tuple[int, int | None]]:
    """Messages and answers that say something."""
    return [
        (one.position, one.superseded_by if isinstance(one, AnswerEntry) else None)
        for one in entries
        if isinstance(one, MessageEntry | AnswerEntry) and one.text
    ]


async def test_a_broadcast_reads_in_the_order_of_its_events(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    picture = Attachment(sha256="0" * 64, size=4, media_type="image/png", name="a cat.png")
    turn = log.post("hello", (picture,))
    log.outcome("ask:cyd:1", answered("third", cost="0.25", reasoning="hm", served_model="c-9"))
    log.outcome("ask:ada:1", failed("no key", partial="so"))
    log.outcome("ask:bob:1", answered("second"))

    seen = (await project(tmp_path, log)).transcript("s1")

    message, cyd, ada, bob = seen.entries
    assert isinstance(message, MessageEntry)
    assert (message.text, message.attachments, message.turn) == ("hello", (picture,), turn)
    assert message.at == log.events[1].at
    assert isinstance(cyd, AnswerEntry)
    assert (cyd.participant, cyd.role, cyd.label) == ("cyd", "cyd's role", "cyd's role (cyd)")
    assert (cyd.provider, cyd.model, cyd.served_model) == ("acme", "cyd-1", "c-9")
    assert (cyd.step, cyd.purpose, cyd.text, cyd.reasoning) == (
        "ask:cyd:1",
        "answer",
        "third",
        "hm",
    )
    assert cyd.cost is not None
    assert str(cyd.cost.amount) == "0.25"
    assert isinstance(ada, FailureEntry)
    assert (ada.participant, ada.error, ada.message, ada.partial, ada.retryable) == (
        "ada",
        "ProviderUnavailable",
        "no key",
        "so",
        True,
    )
    assert isinstance(bob, AnswerEntry)
    assert bob.text == "second"
    assert (seen.session, seen.position, seen.next) == ("s1", len(log.events), None)
    assert Transcript.model_validate_json(seen.model_dump_json()) == seen


async def test_a_plan_is_shown_as_a_decision_and_not_as_an_answer(tmp_path: Path) -> None:
    log = SessionLog(session_config(pattern="coordinator"))
    log.post("hello")
    log.play()

    seen = (await project(tmp_path, log)).transcript("s1").entries

    assert [one.kind for one in seen] == ["message", "decision", *["answer"] * 4]
    decision = seen[1]
    assert isinstance(decision, DecisionEntry)
    assert decision.type == "route.decided"
    assert isinstance(decision.data, RouteDecided)
    assert decision.data.participants == ("ada", "bob", "cyd")
    assert isinstance(seen[-1], AnswerEntry)
    assert seen[-1].purpose == "synthesis"


async def test_a_failed_plan_is_shown_for_it_changed_what_happened(tmp_path: Path) -> None:
    log = SessionLog(session_config(pattern="coordinator"))
    log.post("hello")
    log.outcome("ask:ada:1", failed("no plan today"))
    log.play()

    failure = (await project(tmp_path, log)).transcript("s1").entries[1]

    assert isinstance(failure, FailureEntry)
    assert (failure.purpose, failure.message) == ("plan", "no plan today")


async def test_ballots_and_their_count_are_decisions(tmp_path: Path) -> None:
    log = SessionLog(session_config(pattern="voting"))
    log.post("hello")
    log.play()

    seen = (await project(tmp_path, log)).transcript("s1").entries

    decisions = [one for one in seen if isinstance(one, DecisionEntry)]
    assert [one.type for one in decisions] == ["vote.cast"] * 3 + ["votes.tallied"]
    assert isinstance(decisions[-1].data, VotesTallied)
    assert decisions[-1].data.winner == "ada"


async def test_a_retry_stands_behind_what_it_replaces_and_keeps_it(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    first = log.post("one")
    log.play()
    log.post("two")
    log.play()
    again = log.retry(first, "bob")
    log.play(lambda key, asked: answered("better"))
    position = len(log.events) - 1
    log.retry(again, "bob")
    log.play(lambda key, asked: answered("best"))

    seen = (await project(tmp_path, log)).transcript("s1").entries

    texts = [(one.text, one.superseded_by) for one in seen[2:5] if isinstance(one, AnswerEntry)]
    assert texts == [
        ("bob says so (ask:bob:1)", position),
        ("better", len(log.events) - 1),
        ("best", None),
    ]
    assert spoken(seen) == conversation(log)


async def test_a_retry_after_a_failure_stands_at_the_end_of_its_turn(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    first = log.post("one")
    log.outcome("ask:ada:1", failed())
    log.play()
    log.post("two")
    log.play()
    log.retry(first, "ada")
    log.play(lambda key, asked: failed("still out"))
    log.retry(first, "ada")
    log.play(lambda key, asked: answered("here I am"))
    log.retry(first, "cyd")
    log.play(lambda key, asked: answered("on second thoughts"))
    log.retry(first, "ada")
    log.play(lambda key, asked: answered("here I am again"))

    seen = (await project(tmp_path, log)).transcript("s1").entries

    assert spoken(seen) == conversation(log)
    back = next(one.position for one in seen if getattr(one, "text", "") == "here I am")
    failures = [one for one in seen if isinstance(one, FailureEntry)]
    assert [(one.message, one.superseded_by) for one in failures] == [
        ("the provider is down", back),
        ("still out", back),
    ]


async def test_what_was_cancelled_says_so(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    open_turn = log.post("one")
    queued = log.post("two")
    log.cancel(queued, "not needed")
    log.outcome("ask:ada:1", answered("in time"))
    log.cancel(open_turn)

    seen = (await project(tmp_path, log)).transcript("s1").entries

    assert [one.kind for one in seen] == ["message", "end", "answer", "end"]
    ends = [one for one in seen if isinstance(one, EndEntry)]
    assert [(one.turn, one.problem.reason, one.problem.message) for one in ends] == [
        (queued, "cancelled", "not needed"),
        (open_turn, "cancelled", ""),
    ]


async def test_a_failed_turn_says_why(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    log.post("one")
    log.play(lambda key, asked: failed("out"))

    end = (await project(tmp_path, log)).transcript("s1").entries[-1]

    assert isinstance(end, EndEntry)
    assert (end.problem.reason, "ada: out" in end.problem.message) == ("nobody_answered", True)


async def test_a_queued_message_is_said_when_its_turn_begins(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    log.post("one")
    second = log.post("two")
    before = (await project(tmp_path / "before", log)).transcript("s1").entries
    log.play()
    after = (await project(tmp_path / "after", log)).transcript("s1").entries

    assert [one.text for one in before if isinstance(one, MessageEntry)] == ["one"]
    message = after[4]
    assert isinstance(message, MessageEntry)
    assert (message.text, message.turn) == ("two", second)
    assert spoken(after) == conversation(log)


async def test_roles_are_those_of_the_turn(tmp_path: Path) -> None:
    def anew(role: str) -> list[dict[str, str]]:
        return [{"id": "ada", "provider": "acme", "model_name": "ada-1", "role": role}]

    log = SessionLog(session_config(participants=("ada",)))
    log.post("one")
    log.reconfigure(models=anew("judge"))
    log.reconfigure(models=anew("jury"))
    log.play()
    log.post("two")
    log.play()

    seen = (await project(tmp_path, log)).transcript("s1").entries

    roles = [(one.role, one.label) for one in seen if isinstance(one, AnswerEntry)]
    assert roles == [("ada's role", "ada's role (ada)"), ("jury", "jury (ada)")]


async def test_a_turn_keeps_its_roles_to_its_end(tmp_path: Path) -> None:
    def anew(role: str) -> list[dict[str, str]]:
        return [{"id": "ada", "provider": "acme", "model_name": "ada-1", "role": role}]

    log = SessionLog(session_config(pattern="round_robin", rounds=3, participants=("ada",)))
    log.post("one")
    for role in ("judge", "jury"):
        log.play_step(log.waiting[0])
        log.reconfigure(models=anew(role))
    log.play()
    log.post("two")
    log.play()

    seen = (await project(tmp_path, log)).transcript("s1").entries

    roles = [one.role for one in seen if isinstance(one, AnswerEntry)]
    assert roles == ["ada's role"] * 3 + ["jury"] * 3
    by_page = (await project(tmp_path / "pages", log, page=1)).transcript("s1").entries
    assert by_page == seen


async def test_long_texts_stay_references(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    long = log.blobs.put(b"so long " * 10_000)
    log.post(long)
    log.outcome("ask:ada:1", answered(long, reasoning=long))

    message, answer = (await project(tmp_path, log)).transcript("s1").entries

    assert isinstance(message, MessageEntry)
    assert isinstance(answer, AnswerEntry)
    assert message.text == answer.text == answer.reasoning == long


async def test_an_empty_answer_is_shown_and_replaced(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada", "bob")))
    turn = log.post("one")
    log.play(lambda key, asked: answered("" if asked.participant == "ada" else "yes"))
    log.retry(turn, "ada")
    log.play(lambda key, asked: answered("yes, too"))

    seen = (await project(tmp_path, log)).transcript("s1").entries

    answers = [(one.text, one.superseded_by) for one in seen if isinstance(one, AnswerEntry)]
    assert answers == [("", len(log.events) - 1), ("yes", None), ("yes, too", None)]
    assert spoken(seen) == conversation(log)


async def test_pages_join_without_gap_or_repetition_while_answers_are_replaced(
    tmp_path: Path,
) -> None:
    log = SessionLog(session_config())
    turns = [log.post("one")]
    log.play()
    for text in ("two", "three"):
        turns.append(log.post(text))
        log.play()
    log.retry(turns[0], "ada")
    log.play()
    log.retry(turns[1], "cyd")
    log.play()
    reader = await project(tmp_path, log)
    whole = reader.transcript("s1").entries

    for limit in (1, 2, 3, 5, 100):
        found: list[AnyEntry] = []
        after: int | None = 0
        while after is not None:
            page = reader.transcript("s1", after, limit)
            assert len(page.entries) <= limit
            found += page.entries
            after = page.next
        assert tuple(found) == whole
    assert len(whole) == 14


async def test_a_page_begins_behind_any_position(tmp_path: Path) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    log.post("one")
    log.play()
    log.post("two")
    log.play()
    reader = await project(tmp_path, log)

    # Position 5 ends the first turn and is no entry.
    assert [one.position for one in reader.transcript("s1", 5).entries] == [6, 8]
    assert reader.transcript("s1", 10**30).entries == ()
    with pytest.raises(ConfigError, match="'after' is a position"):
        reader.transcript("s1", -1)


async def test_an_unknown_session_has_nothing_to_read(tmp_path: Path) -> None:
    reader = await project(tmp_path, SessionLog(session_config()))
    assert reader.transcript("s9") == Transcript(session="s9", position=0, entries=(), next=None)


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_shown_is_what_the_participants_are_shown(tmp_path: Path, seed: int) -> None:
    random = Random(seed)

    def script(key: str, asked: ModelAsked) -> Outcome:
        kind = random.random()
        return failed() if kind < 0.3 else answered("" if kind < 0.4 else f"{key} {kind}")

    pattern = random.choice(["broadcast", "voting", "round_robin", "coordinator"])
    rounds = random.choice([0, 2]) if pattern == "round_robin" else 0
    log = SessionLog(session_config(pattern=pattern, rounds=rounds))
    for _ in range(25):
        session = log.machine.session
        ended = [id for id in session.turns if session.turns[id].last_ask("bob")]
        if ended and random.random() < 0.6:
            turn = random.choice(ended)
            asked = [p for p in ("ada", "bob", "cyd") if session.turns[turn].last_ask(p)]
            log.retry(turn, random.choice(asked))
        else:
            log.post(f"message {random.random()}")
        log.play(script, random)

    seen = (await project(tmp_path, log)).transcript("s1", limit=1000).entries

    assert spoken(seen) == conversation(log)
