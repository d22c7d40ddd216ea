"""Who wins a vote, also where voters fail or write nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.routing.voting import TIE, ballot_schema
from events.types import TurnCompleted, TurnFailed, VoteCast, VotesTallied
from tests.sessions import Driven
from tests.unit.structured_answers import ballot


def proposed(*proposals: str, failing: str = "", **changes: Any) -> Driven:
    """A vote after the proposals of a, b, c, those in `failing` having made none."""
    room = Driven(routing_pattern="voting", **changes)
    room.post()
    for name in "abc":
        if name in failing:
            room.fail(f"ask:{name}:1")
        else:
            room.answer(f"ask:{name}:1", f"proposal of {name}")
    return room


def votes(room: Driven) -> list[tuple[str, str | None]]:
    return [(vote.voter, vote.choice) for vote in room.data(VoteCast)]


def test_everyone_proposes_and_votes_and_the_winner_is_the_answer() -> None:
    room = proposed()
    assert room.waiting == ("ask:a:2", "ask:b:2", "ask:c:2")
    assert {room.asked(key).public for key in room.waiting} == {False}
    assert {room.asked(f"ask:{name}:1").purpose for name in "abc"} == {"proposal"}
    room.answer("ask:c:2", ballot("b"))
    room.answer("ask:a:2", ballot("b"))
    assert room.answer("ask:b:2", ballot("c")) == (
        "model.answered(ask:b:2) vote.cast vote.cast vote.cast votes.tallied turn.completed"
    )
    assert votes(room) == [("a", "b"), ("b", "c"), ("c", "b")]  # in the session's order
    tally = room.last(VotesTallied)
    assert [(t.participant, t.votes) for t in tally.tallies] == [("a", 0), ("b", 2), ("c", 1)]
    assert (tally.winner, tally.tie_broken_by) == ("b", None)
    assert room.last(TurnCompleted).answer_from == "ask:b:1"


def test_voters_see_all_proposals_and_may_not_choose_their_own() -> None:
    room = proposed(facts={"a": {"structured_output": True}})
    asked, messages = room.request("ask:a:2")
    assert asked.parameters.schema_ == ballot_schema(["b", "c"])
    assert "- a: A" not in str(asked.instruction)
    assert "[B (b)]: proposal of b" in messages[-1][1]
    assert ("assistant", "proposal of a") in messages
    assert room.asked("ask:b:2").parameters.schema_ is None


def test_a_tie_goes_to_the_earliest() -> None:
    room = proposed()
    for voter, choice in (("c", "a"), ("b", "c"), ("a", "b")):
        room.answer(f"ask:{voter}:2", ballot(choice))
    tally = room.last(VotesTallied)
    assert (tally.winner, tally.tie_broken_by) == ("a", TIE)
    assert room.last(TurnCompleted).answer_from == "ask:a:1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ballot("a"), "abstention: a vote for oneself"),
        (ballot("A"), "abstention: a vote for oneself"),
        ("b!", "abstention: the ballot is not JSON"),
        (ballot(None), "abstention: the ballot names no single candidate"),
        (ballot(["b", "c"]), "abstention: the ballot names no single candidate"),
        (ballot("everyone"), "abstention: the ballot names no single candidate"),
        ('{"vote": "b"}', "abstention: the ballot names no single candidate"),
    ],
)
def test_a_bad_ballot_is_an_abstention(text: str, reason: str) -> None:
    room = proposed()
    room.answer("ask:a:2", text)
    room.answer("ask:b:2", ballot("c"))
    room.answer("ask:c:2", ballot("C (c)"))
    cast = room.data(VoteCast)[0]
    assert (cast.voter, cast.choice, cast.reason) == ("a", None, reason)
    assert room.last(VotesTallied).winner == "c"


def test_a_failing_voter_abstains() -> None:
    room = proposed()
    room.fail("ask:a:2")
    room.answer("ask:b:2", ballot("a"))
    room.answer("ask:c:2", ballot("a"))
    assert room.data(VoteCast)[0].reason == "abstention: the call failed (ProviderUnavailable)"
    assert room.last(VotesTallied).winner == "a"


def test_who_made_no_proposal_votes_but_cannot_be_voted_for() -> None:
    room = proposed(failing="c")
    room.answer("ask:a:2", ballot("c"))
    room.answer("ask:b:2", ballot("a"))
    room.answer("ask:c:2", ballot("b"))
    assert votes(room) == [("a", None), ("b", "a"), ("c", "b")]
    assert room.data(VoteCast)[0].reason == "abstention: c made no proposal"
    tally = room.last(VotesTallied)
    assert [(t.participant, t.votes) for t in tally.tallies] == [("a", 1), ("b", 1)]
    assert tally.winner == "a"


def test_one_candidate_wins_without_a_vote() -> None:
    room = proposed(failing="ac")
    assert room.data(VoteCast) == []
    assert room.last(VotesTallied).winner == "b"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"


def test_no_candidate_fails_the_turn() -> None:
    room = proposed(failing="abc")
    assert room.data(VotesTallied) == []
    assert room.last(TurnFailed).reason == "nobody_answered"


def test_abstentions_only_leave_it_to_the_rule() -> None:
    room = proposed()
    for name in "abc":
        room.answer(f"ask:{name}:2", "no idea")
    tally = room.last(VotesTallied)
    assert (tally.winner, tally.tie_broken_by) == ("a", TIE)


def test_ballots_are_no_part_of_the_conversation() -> None:
    room = proposed()
    for name in "abc":
        room.answer(f"ask:{name}:2", ballot("b" if name != "b" else "a"))
    room.post("And now?")
    _, messages = room.request("ask:a:1")
    assert "better" not in json.dumps(messages)
