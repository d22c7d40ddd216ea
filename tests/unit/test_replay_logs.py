"""Replay finds a log identical exactly if every event follows from those before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from events.canonical import HeadChain
from events.types import Derived, Input
from projections.replay import verify
from tests.eventful_logs import eventful_log
from tests.session_logs import SessionLog
from tests.unit.replayed_logs import every_kind, run


@every_kind
def test_a_log_replays_exactly(make: Callable[[], SessionLog]) -> None:
    log = make()
    result = run(log)

    assert result.divergence is None
    assert result.identical
    assert result.session == "s1"
    assert result.events == len(log.events)
    assert result.derived == sum(isinstance(e.data, Derived) for e in log.events) > 0
    chain = HeadChain()
    for event in log.events:
        chain.add(event)
    assert result.head == chain.hexdigest()


@every_kind
def test_a_log_cut_before_an_input_replays_and_cut_before_what_follows_from_it_does_not(
    make: Callable[[], SessionLog],
) -> None:
    log = make()
    for length in range(1, len(log.events)):
        result, missing = run(log, log.events[:length]), log.events[length]
        assert result.identical == isinstance(missing.data, Input), length
        if not result.identical:
            assert result.divergence is not None
            assert result.divergence.position == missing.position
            assert result.divergence.expected is None
            assert result.divergence.actual is not None
            assert result.divergence.actual["type"] == missing.type


@every_kind
def test_every_derived_event_that_is_left_out_is_missed(make: Callable[[], SessionLog]) -> None:
    log = make()
    for index, event in enumerate(log.events):
        if isinstance(event.data, Derived):
            moved = [replace(e, position=e.position - 1) for e in log.events[index + 1 :]]
            result = run(log, [*log.events[:index], *moved])
            assert result.divergence is not None, event
            assert result.divergence.position == event.position
            assert result.divergence.actual is not None
            assert result.divergence.actual["type"] == event.type


@every_kind
def test_every_derived_event_that_stands_twice_is_found(make: Callable[[], SessionLog]) -> None:
    log = make()
    for index, event in enumerate(log.events):
        if isinstance(event.data, Derived):
            rest = [replace(e, position=e.position + 1) for e in log.events[index:]]
            result = run(log, [*log.events[: index + 1], *rest])
            assert result.divergence is not None, event
            assert result.divergence.position == event.position + 1
            assert result.divergence.expected is not None
            assert result.divergence.expected["type"] == event.type


@every_kind
def test_every_part_of_an_envelope_is_compared(make: Callable[[], SessionLog]) -> None:
    log = make()
    others: dict[str, Any] = {
        "by": "somebody",
        "command": "c99",
        "turn": "t99",
        "step": "ask:zoe:1",
        "cause": 99,
        "position": 99,
        "stream": "s2",
    }
    last = max(i for i, e in enumerate(log.events) if isinstance(e.data, Derived))
    for index in (0, last):
        for name, value in others.items():
            if index == 0 and name in ("by", "command", "turn", "step", "cause", "stream"):
                continue  # inputs are copied; the stream is the first event's
            doctored = list(log.events)
            doctored[index] = replace(doctored[index], **{name: value})
            result = run(log, doctored)
            assert result.divergence is not None, (index, name)
            assert result.divergence.position == index + 1
            assert result.divergence.expected is not None
            assert result.divergence.expected[name] == value


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_in_a_session_replays(seed: int) -> None:
    log = eventful_log("s1", Random(seed), actions=60)
    result = run(log)
    assert result.divergence is None
    assert result.derived == sum(isinstance(e.data, Derived) for e in log.events)


def test_an_empty_log_is_what_follows_from_nothing() -> None:
    assert verify([], lambda blob: "").model_dump(exclude={"head"}) == {
        "session": "",
        "identical": True,
        "events": 0,
        "derived": 0,
        "divergence": None,
    }
