"""What the log says of models that did comparable work."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from events.types import ModelAsked, ModelDiscarded
from events.values import Cost, Usage
from projections.choices import Ballots, Comparison, ModelName, Spread
from projections.costs import Span
from tests.projected import project
from tests.session_logs import Outcome, SessionLog, answered, failed, session_config

ADA, BOB, CYD = (ModelName(provider="acme", model=f"{name}-1") for name in ("ada", "bob", "cyd"))


def spoken(log: SessionLog, times: int, *, cyd_fails: int = 0) -> None:
    """Ada is slow and cheap, Bob fast and dear; Cyd has no price and fails first."""
    for number in range(times):

        def script(key: str, asked: ModelAsked, number: int = number) -> Outcome:
            if asked.participant == "cyd" and number < cyd_fails:
                return failed()
            slow = asked.participant == "ada"
            return answered(
                "x",
                usage=Usage(input=90, cache_read=10, output=number, reasoning=1),
                cost={"ada": f"0.{number + 1}", "bob": "1"}.get(asked.participant),
                first_token_ms=100.0 + number if slow else None,
                duration_ms=(1000.0 if slow else 10.0) + number,
            )

        log.post("hello")
        log.play(script)


def only(found: tuple[Comparison, ...]) -> Comparison:
    (comparison,) = found
    return comparison


async def test_medians_failures_and_who_is_first(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    spoken(log, 5, cyd_fails=1)
    report = (await project(tmp_path, log)).choices()

    assert report.position == len(log.events)
    found = only(report.comparisons)
    assert (found.pattern, found.purpose) == ("broadcast", "answer")
    ada, bob, cyd = found.models
    assert ModelName(provider=ada.provider, model=ada.model) == ADA
    assert (ada.answered, ada.failed, ada.failure_rate) == (5, 0, 0)
    assert ada.first_token == Spread(observations=5, median=102, p95=None)
    assert ada.duration == Spread(observations=5, median=1002, p95=None)
    assert (ada.input_tokens, ada.output_tokens) == (100, 3)
    assert (ada.cost, ada.priced) == (Decimal("0.3"), 5)
    assert bob.first_token is None
    assert (cyd.answered, cyd.failed, cyd.failure_rate) == (4, 1, 0.2)
    assert (cyd.cost, cyd.priced, cyd.votes) == (None, 0, None)
    assert found.cheapest == (ADA,)
    assert found.fastest == (BOB,), "Cyd is as fast, but has too few answers"


async def test_nothing_is_claimed_from_few_answers(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    spoken(log, 4)
    found = only((await project(tmp_path, log)).choices().comparisons)
    assert [one.answered for one in found.models] == [4, 4, 4]
    assert found.cheapest == found.fastest == ()


async def test_equals_are_named_together(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    spoken(log, 20)
    found = only((await project(tmp_path, log)).choices().comparisons)
    assert found.fastest == (BOB, CYD)
    assert found.models[1].duration == Spread(observations=20, median=19.5, p95=28)


async def test_other_patterns_purposes_and_tags_are_not_compared(tmp_path: Path) -> None:
    tagged = SessionLog(session_config("s1", tags=["trial"]))
    spoken(tagged, 1)
    other = SessionLog(session_config("s2"))
    spoken(other, 1)
    other.post("one more")
    other.reconfigure(routing_pattern="round_robin")  # the open turn goes on as it began
    other.play()
    other.post("now in order")
    other.play()
    alone = SessionLog(session_config("s3", pattern="voting", participants=("ada",)))
    alone.post("hello")
    alone.play()
    reader = await project(tmp_path, tagged, other, alone, page=3)

    found = only(reader.choices().comparisons)
    assert (found.pattern, [one.answered for one in found.models]) == ("broadcast", [3, 3, 3])
    trial = only(reader.choices(Span(tag="trial")).comparisons)
    assert [one.answered for one in trial.models] == [1, 1, 1]


async def test_votes_that_an_answer_won_count_for_its_model(tmp_path: Path) -> None:
    log = SessionLog(session_config(pattern="voting"))

    def script(choice: str, key: str, asked: ModelAsked) -> Outcome:
        if asked.purpose == "vote":
            other = "ada" if asked.participant == choice else choice
            return answered(json.dumps({"choice": other, "reason": ""}))
        return failed() if asked.participant == "cyd" else answered("a proposal")

    for choice in ("bob", "bob", "ada"):
        log.post("hello")
        log.play(lambda key, asked, choice=choice: script(choice, key, asked))  # type: ignore[misc]
    comparisons = (await project(tmp_path, log, page=4)).choices().comparisons

    proposals = next(one for one in comparisons if one.purpose == "proposal")
    votes = {one.model: one.votes for one in proposals.models}
    assert votes == {
        "ada-1": Ballots(stood=3, won=1),
        "bob-1": Ballots(stood=3, won=2),
        "cyd-1": None,
    }
    ballots = next(one for one in comparisons if one.purpose == "vote")
    assert all(one.votes is None for one in ballots.models)


async def test_what_was_discarded_says_nothing_of_a_model(tmp_path: Path) -> None:
    log = SessionLog(session_config())
    spoken(log, 5)
    turn = next(iter(log.machine.session.turns))
    late = ModelDiscarded(
        attempt=2,
        reason="duplicate",
        usage=Usage(input=1),
        cost=Cost(amount=Decimal(0), prices="p"),
    )
    log.give(late, turn, "ask:bob:1")
    reader = await project(tmp_path, log, page=1)
    found = only(reader.choices().comparisons)
    assert found.models[1].answered == 5
    assert found.models[1].cost == 1
    assert reader.costs().total.discarded == 1
