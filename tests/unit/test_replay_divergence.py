"""What replay says of a log that diverges, and where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events.canonical import HeadChain
from events.types import ModelAsked, TurnCompleted, TurnFailed, VotesTallied
from projections.replay import Replay
from tests.session_logs import SessionLog, answered, session_config
from tests.unit.replayed_logs import broadcast, coordinator, eventful, run, voting, with_data


def test_a_divergence_says_what_the_log_holds_and_what_replay_made() -> None:
    log = voting()
    events, true = with_data(log, VotesTallied, winner="cyd")
    result = run(log, events)

    assert not result.identical
    assert result.divergence is not None
    assert result.divergence.position == true.position
    assert result.divergence.expected is not None
    assert result.divergence.actual is not None
    assert result.divergence.expected["data"]["winner"] == "cyd"
    assert result.divergence.actual["data"]["winner"] == "ada"
    assert result.divergence.message == "replay made another votes.tallied"
    chain = HeadChain()
    for event in events[: true.position - 1]:
        chain.add(event)
    assert result.head == chain.hexdigest()
    assert Replay.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("other", [True, 1.0, "1"])
def test_what_python_holds_equal_is_still_another_event(other: object) -> None:
    models = [{"id": "ada", "provider": "acme", "model_name": "a", "extra": {"n": 1}}]
    log = SessionLog(session_config(models=models, participants=()))
    log.post("one")
    log.play()
    parameters = log.events[2].data.model_dump()["parameters"] | {"extra": {"n": other}}
    changed = ModelAsked.model_validate(
        log.events[2].data.model_dump() | {"parameters": parameters}
    )
    events, true = with_data(log, ModelAsked, parameters=changed.parameters)

    result = run(log, events)

    if other == 1.0 and type(other) is float:
        # JSON has one kind of number, and in RFC 8785 one form for each.
        assert result.identical
    else:
        assert result.divergence is not None
        assert result.divergence.position == true.position


def test_a_changed_answer_changes_what_follows() -> None:
    log = coordinator()
    events = log.events
    index = next(i for i, e in enumerate(events) if e.turn == "t2" and e.type == "model.answered")
    events[index] = replace(events[index], data=answered('{"participants": ["bob"]}'))
    result = run(log, events)

    assert result.divergence is not None
    assert result.divergence.position == index + 2
    assert result.divergence.actual is not None
    assert result.divergence.actual["data"]["participants"] == ["bob"]


def test_a_log_that_begins_with_what_nobody_asked_for_diverges_there() -> None:
    log = broadcast()
    result = run(log, [replace(e, position=e.position - 2) for e in log.events[2:]])
    assert result.divergence is not None
    assert result.divergence.position == 1
    assert "nothing before it leads to this model.asked" in result.divergence.message
    assert result.derived == 0


def test_a_log_that_begins_in_the_middle_diverges_there() -> None:
    log = broadcast()
    begin = max(e.position for e in log.events if e.type == "turn.started")
    result = run(
        log, [replace(e, position=e.position - begin + 1) for e in log.events[begin - 1 :]]
    )
    assert result.divergence is not None
    assert result.divergence.position == 1
    assert "no turn.started can come here" in result.divergence.message


def test_an_outcome_of_nothing_is_a_divergence_and_no_crash() -> None:
    log = SessionLog(session_config())
    log.post("one")
    stray = replace(
        log.events[-1], position=len(log.events) + 1, step="ask:bob:7", data=answered("hm")
    )
    result = run(log, [*log.events, stray])
    assert result.divergence is not None
    assert result.divergence.position == stray.position
    assert result.divergence.expected is not None
    assert result.divergence.expected["step"] == "ask:bob:7"


def test_turns_end_as_they_ended() -> None:
    log = eventful()
    ends = [e.data for e in log.events if isinstance(e.data, TurnCompleted | TurnFailed)]
    assert len({type(end) for end in ends}) == 2
    events, true = with_data(log, TurnFailed, message="because")
    result = run(log, events)
    assert result.divergence is not None
    assert result.divergence.position == true.position
