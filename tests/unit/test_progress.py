"""A turn's state, folded from events and pieces in whatever way they arrive."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from api.client_messages import Event
from tests.unit.turn_messages import Turn


def test_a_call_thinks_streams_and_is_done() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    call = turn.progress.calls[step]
    assert (call.state, call.text) == ("thinking", "")
    turn.delta(step, "hmm", 0, channel="reasoning")
    assert (call.state, call.reasoning) == ("thinking", 3)
    turn.delta(step, "Hello ", 0)
    turn.delta(step, "you", 6)
    assert (call.state, call.text) == ("streaming", "Hello you")
    turn.answered(step, "Hello you.")
    assert (call.state, call.text, call.tokens, call.seconds) == ("done", "Hello you.", 42, 2.9)
    assert call.cost == Decimal("0.0001")
    turn.delta(step, "late", 9)
    assert call.text == "Hello you."


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_repeated_and_overlapping_pieces_make_one_text(
    text: str, pieces: list[tuple[int, int]]
) -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    end = 0
    for back, length in [*pieces, (0, len(text))]:
        start = max(0, end - back)
        turn.delta(step, text[start : start + length], start)
        end = max(end, min(len(text), start + length))
    assert turn.progress.calls[step].text == text


def test_the_last_status_counts_until_something_comes() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    call = turn.progress.calls[step]
    turn.delta(step, "waits, 2 before it\n", 0, channel="status")
    turn.delta(step, "waits, 1 before it\nwaits, 0 before it\n", 19, channel="status")
    assert (call.state, call.status, call.text) == ("thinking", "waits, 0 before it", "")
    assert call.reasoning == 0
    turn.delta(step, "Hello", 0)
    assert (call.state, call.status, call.text) == ("streaming", "", "Hello")


def test_what_was_lost_shows() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.delta(step, "one", 0)
    turn.delta(step, "three", 8)
    assert turn.progress.calls[step].text == "one … three"


def test_another_attempt_begins_anew() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.delta(step, "first", 0)
    turn.event("model.reasked", step, attempt=2, reason="nothing was heard")
    assert turn.progress.calls[step].text == ""
    turn.delta(step, "stray", 5, attempt=1)
    turn.delta(step, "second", 0, attempt=2)
    assert turn.progress.calls[step].text == "second"


def test_pieces_of_an_attempt_may_come_before_its_event() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.delta(step, "first", 0)
    turn.delta(step, "again", 0, attempt=2)
    turn.event("model.reasked", step, attempt=2, reason="nothing was heard")
    turn.delta(step, "again and whole", 0, attempt=2)
    assert turn.progress.calls[step].text == "again and whole"


def test_a_long_answer_is_known_by_its_reference() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.delta(step, "the beginning", 0)
    reference = {"sha256": "0" * 64, "size": 70_000, "media_type": "text/plain"}
    turn.answered(step, reference)
    assert turn.progress.calls[step].text == "the beginning"
    assert turn.progress.calls[step].reference == reference


def test_failures_are_kept_with_what_to_do() -> None:
    turn = Turn("architect", "coder")
    step = turn.asked("m1")
    turn.failed(step)
    call = turn.progress.calls[step]
    assert (call.state, call.error, call.message) == (
        "failed", "ProviderUnavailable", "ask again later",
    )  # fmt: skip


def test_decisions_in_words() -> None:
    turn = Turn("architect", "coder", pattern="voting")
    turn.event("route.decided", participants=["m1"], reason="", fallback="the plan is not JSON")
    turn.event("vote.cast", voter="m0", choice="m1", reason="clear")
    turn.event("vote.cast", voter="m1", choice=None, reason="abstention: no ballot")
    tallies = [{"participant": "m1", "votes": 1}, {"participant": "m0", "votes": 0}]
    turn.event("votes.tallied", tallies=tallies, winner="m1", tie_broken_by=None)
    assert [(each.kind, each.text) for each in turn.progress.decisions] == [
        ("plan", "m1 (fallback: the plan is not JSON)"),
        ("vote", "m0 → m1 – clear"),
        ("vote", "m1 – abstention: no ballot"),
        ("tally", "m1 wins: m1 1, m0 0"),
    ]


def test_the_answer_is_what_the_router_returned() -> None:
    turn = Turn("architect", "coder")
    for participant in ("m0", "m1"):
        turn.answered(turn.asked(participant), f"by {participant}")
    before = turn.progress.answer
    assert before is None
    turn.event("turn.completed", answer_from="ask:m1:1", answer=None)
    assert turn.progress.ended
    assert turn.progress.answer == "by m1"
    assert turn.progress.tokens == 84
    assert turn.progress.spent == "$0.0002"


def test_a_cancelled_turn_leaves_nothing_running() -> None:
    turn = Turn("architect", "coder")
    done, running = turn.asked("m0"), turn.asked("m1")
    turn.answered(done, "here")
    turn.event("turn.cancelled", reason="enough")
    assert turn.progress.status == "cancelled"
    assert turn.progress.calls[done].state == "done"
    assert turn.progress.calls[running].state == "cancelled"


def test_other_turns_are_ignored() -> None:
    turn = Turn("architect")
    turn.progress.apply(Event(9, "turn.completed", "", "local", "t2", None, {}), 0.0)
    assert turn.progress.status == "open"


def test_an_unknown_price_is_not_zero() -> None:
    turn = Turn("architect", "coder", "critic")
    free, unknown, paid = (turn.asked(f"m{n}") for n in range(3))
    turn.answered(free, "free", cost={"amount": "0", "prices": "rehearsal"})
    assert turn.progress.spent == "$0.00"
    turn.answered(unknown, "who knows", cost=None)
    assert turn.progress.spent == "$0.00 + 1 unpriced"
    turn.answered(paid, "paid")
    assert turn.progress.spent == "$0.0001 + 1 unpriced"
    alone = Turn("architect")
    alone.answered(alone.asked("m0"), "who knows", cost=None)
    assert alone.progress.spent == "-"


def test_what_a_cancelled_call_has_used_comes_after_the_end() -> None:
    turn = Turn("architect", "coder")
    done, running = turn.asked("m0"), turn.asked("m1")
    turn.answered(done, "here")
    turn.event("model.cancelled", running, reason="turn_ended")
    turn.event("turn.cancelled", reason="")
    assert (turn.progress.ended, turn.progress.settled) == (True, False)
    usage = {"input": 5, "output": 7, "reasoning": 1, "estimated": True}
    cost = {"amount": "0.0002", "prices": "list-1"}
    turn.event("model.discarded", running, reason="cancelled", usage=usage, cost=cost)
    assert turn.progress.settled
    assert turn.progress.calls[running].state == "cancelled"
    assert turn.progress.tokens == 42 + 8
    assert turn.progress.spent == "$0.0003"


def test_what_was_paid_twice_counts_twice() -> None:
    turn = Turn("architect")
    step = turn.asked("m0")
    turn.answered(step, "first")
    usage = {"input": 5, "output": 7, "reasoning": 1}
    turn.event("model.discarded", step, reason="duplicate", usage=usage, cost=None)
    assert turn.progress.tokens == 42 + 8
    assert turn.progress.spent == "$0.0001 + 1 unpriced"
