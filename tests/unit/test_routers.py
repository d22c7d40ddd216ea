"""What each router decides, also where participants fail or write nonsense."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from actors.routing.coordinator import plan_schema
from actors.routing.voting import TIE, ballot_schema
from events.types import RouteDecided, TurnCompleted, TurnFailed, VoteCast, VotesTallied
from tests.sessions import Driven

# --- broadcast -------------------------------------------------------------------------------


def test_broadcast_asks_everyone_at_once() -> None:
    room = Driven()
    assert (
        room.post() == "turn.started model.asked(ask:a:1) model.asked(ask:b:1) model.asked(ask:c:1)"
    )
    assert room.answer("ask:b:1") == "model.answered(ask:b:1)"
    assert room.answer("ask:a:1") == "model.answered(ask:a:1)"
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) turn.completed"
    end = room.last(TurnCompleted)
    assert (end.answer_from, end.answer) == (None, None)  # three answers, so none is the answer


def test_broadcast_completes_with_those_who_answered() -> None:
    room = Driven()
    room.post()
    room.fail("ask:a:1")
    room.answer("ask:b:1")
    assert room.fail("ask:c:1") == "model.failed(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"


def test_broadcast_to_one_has_an_answer() -> None:
    room = Driven(names="a")
    room.post()
    room.answer("ask:a:1")
    assert room.last(TurnCompleted).answer_from == "ask:a:1"


def test_broadcast_fails_only_if_nobody_answers() -> None:
    room = Driven()
    room.post()
    room.fail("ask:c:1", "no key")
    room.fail("ask:a:1", "timed out")
    assert room.fail("ask:b:1", "no key") == "model.failed(ask:b:1) turn.failed"
    end = room.last(TurnFailed)
    assert end.reason == "nobody_answered"
    assert end.message == "nobody answered: a: timed out; b: no key; c: no key"


# --- coordinator -----------------------------------------------------------------------------


def coordinated(**changes: Any) -> Driven:
    room = Driven(routing_pattern="coordinator", coordinator="a", **changes)
    assert room.post() == "turn.started model.asked(ask:a:1)"
    return room


def plan(participants: Any, reason: Any = "they know") -> str:
    return json.dumps({"participants": participants, "reason": reason})


def test_coordinator_plans_asks_and_joins() -> None:
    room = coordinated()
    asked = room.asked("ask:a:1")
    assert (asked.purpose, asked.public) == ("plan", False)
    assert "- b: B\n" in str(asked.instruction)
    assert room.answer("ask:a:1", plan(["c", "b"])) == (
        "model.answered(ask:a:1) route.decided model.asked(ask:c:1) model.asked(ask:b:1)"
    )
    decided = room.last(RouteDecided)
    assert (decided.participants, decided.reason, decided.fallback) == (
        ("c", "b"),
        "they know",
        None,
    )
    room.answer("ask:b:1")
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) model.asked(ask:a:2)"
    assert room.asked("ask:a:2").purpose == "synthesis"
    assert room.answer("ask:a:2", "both") == "model.answered(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:a:2"


def test_the_synthesis_sees_the_answers_and_no_plan() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b", "c"]))
    room.answer("ask:b:1", "from b")
    room.answer("ask:c:1", "from c")
    _, messages = room.machine.request("ask:a:2")
    assert [role for role, _ in messages] == ["system", "user"]
    assert messages[1][1].startswith("Hello\n\n[B (b)]: from b\n\n[C (c)]: from c\n\nNow answer")
    assert "they know" not in messages[1][1]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ('Here you are:\n```json\n{"participants": ["C"], "reason": "x"}\n```\nGood luck!', ["c"]),
        ('{"note": "thinking"} {"participants": ["b"]}', ["b"]),
        ('{"plan": {"participants": ["b"], "reason": null}}', ["b"]),
        (plan("c"), ["c"]),
        (plan(["c", "c", "b", "C (c)"]), ["c", "b"]),
        (plan(["nobody", "b", 7, None]), ["b"]),
        (plan(["[B]", "`c`"]), ["b", "c"]),
        (plan(["a"]), ["a"]),
    ],
)
def test_coordinator_reads_forgivingly(text: str, chosen: Sequence[str]) -> None:
    room = coordinated()
    room.answer("ask:a:1", text)
    decided = room.last(RouteDecided)
    assert decided.participants == tuple(chosen)
    assert decided.fallback is None


@pytest.mark.parametrize(
    ("text", "fallback"),
    [
        ("I would ask everybody, I think.", "the plan is not JSON"),
        ("", "the plan is not JSON"),
        ('["b", "c"]', "the plan is not JSON"),
        ('{"participants": ["b"', "the plan is not JSON"),
        ('{"participants": ["b"], "reason": "\\ud800"}', "the plan is not JSON"),
        ("{" * 100_000, "the plan is not JSON"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "the plan is not JSON"),
        (plan([]), "the plan names no participant"),
        (plan(["nobody", "everyone"]), "the plan names no participant"),
        (plan({"b": 1}), "the plan names no participant"),
        (plan(None), "the plan names no participant"),
        ('{"reason": "no list"}', "the plan names no participant"),
    ],
)
def test_a_plan_that_cannot_be_used_falls_back_to_everyone_else(text: str, fallback: str) -> None:
    room = coordinated()
    told = room.answer("ask:a:1", text)
    assert told.endswith("route.decided model.asked(ask:b:1) model.asked(ask:c:1)")
    decided = room.last(RouteDecided)
    assert decided.participants == ("b", "c")
    assert decided.fallback == fallback


def test_a_reason_of_any_length_and_kind_can_be_recorded() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b"], "x" * 100_000))
    assert room.last(RouteDecided).reason == "x" * 1000
    room.cancel()
    room.post()
    room.answer("ask:a:1", plan(["b"], {"not": "a text"}))
    assert room.last(RouteDecided).reason == ""


def test_a_coordinator_that_fails_is_replaced_by_the_rule() -> None:
    room = coordinated()
    room.fail("ask:a:1")
    assert room.last(RouteDecided).fallback == "the coordinator failed: ProviderUnavailable"
    room.answer("ask:b:1")
    room.answer("ask:c:1")
    assert room.fail("ask:a:2") == "model.failed(ask:a:2) turn.completed"
    assert room.last(TurnCompleted).answer_from is None  # two answers, and nobody to join them


def test_one_answer_needs_no_joining() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b", "c"]))
    room.fail("ask:b:1")
    assert room.answer("ask:c:1") == "model.answered(ask:c:1) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:c:1"


def test_a_coordinated_turn_nobody_answers_fails() -> None:
    room = coordinated()
    room.answer("ask:a:1", plan(["b"]))
    assert room.fail("ask:b:1") == "model.failed(ask:b:1) turn.failed"
    assert room.last(TurnFailed).reason == "nobody_answered"  # a plan is no answer


def test_a_coordinator_may_name_itself_and_is_asked_twice() -> None:
    room = coordinated()
    assert "model.asked(ask:a:2)" in room.answer("ask:a:1", plan(["a", "b"]))
    room.answer("ask:a:2", "mine")
    assert room.answer("ask:b:1", "theirs").endswith("model.asked(ask:a:3)")
    _, messages = room.machine.request("ask:a:3")
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user"]


def test_a_coordinator_alone_answers_alone() -> None:
    room = Driven(names="a", routing_pattern="coordinator", coordinator="a")
    room.post()
    assert room.answer("ask:a:1", "nonsense").endswith("route.decided model.asked(ask:a:2)")
    room.answer("ask:a:2")
    assert room.last(TurnCompleted).answer_from == "ask:a:2"


def test_a_plan_is_asked_for_as_structured_output_where_the_model_can() -> None:
    able = coordinated(facts={"a": {"structured_output": True}})
    assert able.asked("ask:a:1").parameters.schema_ == plan_schema(["a", "b", "c"])
    other = coordinated(facts={"a": {"structured_output": False}, "b": {"structured_output": True}})
    assert other.asked("ask:a:1").parameters.schema_ is None


# --- round robin -----------------------------------------------------------------------------


def test_round_robin_is_one_speaker_a_message() -> None:
    room = Driven(routing_pattern="round_robin")
    for speaker in ("a", "b", "c", "a"):
        step = f"ask:{speaker}:1"
        assert room.post() == f"turn.started route.decided model.asked({step})"
        assert room.answer(step).endswith("turn.completed")
        assert room.last(TurnCompleted).answer_from == step


def test_a_speaker_that_fails_gives_the_floor_to_the_next() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    assert room.fail("ask:a:1") == "model.failed(ask:a:1) route.decided model.asked(ask:b:1)"
    assert room.last(RouteDecided).fallback == "a failed"
    room.answer("ask:b:1")
    assert room.last(TurnCompleted).answer_from == "ask:b:1"
    assert room.post().endswith("model.asked(ask:c:1)")  # after the one who spoke last


def test_round_robin_goes_round_once_and_fails() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.fail("ask:a:1")
    room.fail("ask:b:1")
    assert room.fail("ask:c:1") == "model.failed(ask:c:1) turn.failed"
    assert room.post().endswith("model.asked(ask:a:1)")


def test_round_robin_goes_on_when_the_last_speaker_has_left() -> None:
    room = Driven(routing_pattern="round_robin")
    room.post()
    room.answer("ask:a:1")
    room.reconfigure(models=[model.model_dump(mode="json") for model in room.config.models[1:]])
    assert room.post().endswith("model.asked(ask:b:1)")


def test_a_debate_goes_round_and_everyone_hears_everyone() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    for step, text in (("ask:a:1", "A1"), ("ask:b:1", "B1"), ("ask:a:2", "A2")):
        assert room.answer(step, text).startswith(
            f"model.answered({step}) route.decided model.asked("
        )
    _, messages = room.machine.request("ask:b:2")
    assert [text for _, text in messages[1:]] == ["Hello\n\n[A (a)]: A1", "B1", "[A (a)]: A2"]
    assert room.answer("ask:b:2") == "model.answered(ask:b:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:2"
    assert [d.reason for d in room.data(RouteDecided)] == ["round 1 of 2"] * 2 + [
        "round 2 of 2"
    ] * 2


def test_a_debate_goes_on_without_those_who_fail() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=2)
    room.post()
    room.fail("ask:a:1")
    room.answer("ask:b:1", "B1")
    room.fail("ask:a:2")
    assert room.fail("ask:b:2") == "model.failed(ask:b:2) turn.completed"
    assert room.last(TurnCompleted).answer_from == "ask:b:1"  # the last that was given


def test_a_debate_longer_than_the_step_limit_is_stopped() -> None:
    room = Driven(names="ab", routing_pattern="round_robin", rounds=20, max_steps=3)
    room.post()
    room.answer("ask:a:1")
    room.answer("ask:b:1")
    assert room.answer("ask:a:2") == "model.answered(ask:a:2) route.decided turn.failed"
    assert room.last(TurnFailed).reason == "too_many_steps"
    assert "raise 'max_steps'" in room.last(TurnFailed).message


# --- voting ----------------------------------------------------------------------------------


def ballot(choice: Any, reason: Any = "better") -> str:
    return json.dumps({"choice": choice, "reason": reason})


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
    asked, messages = room.machine.request("ask:a:2")
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
    _, messages = room.machine.request("ask:a:1")
    assert "better" not in json.dumps(messages)


@pytest.mark.parametrize("pattern", ["broadcast", "coordinator", "round_robin", "voting"])
def test_every_turn_replays(pattern: str) -> None:
    room = Driven(routing_pattern=pattern, coordinator="a")
    for text in (plan(["b", "c"]), ballot("b"), "nonsense"):
        room.post()
        while room.waiting:
            room.answer(room.waiting[-1], text)
    assert len(room.data(TurnCompleted)) == 3
    assert room.replay().session.position == len(room.log)
