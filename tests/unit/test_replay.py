from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors.deciding import NotFound
from actors.routing.steps import Answer
from actors.routing.turn import Turn
from events.canonical import HeadChain
from events.codec import Codec
from events.envelope import Event
from events.errors import ConfigError, StoreError, UnknownEvent
from events.journal import Journal
from events.open import open_store
from events.recorders.memory import MemoryRecorder
from events.registry import Registry
from events.session import DEADLINE
from events.types import (
    PAYLOADS,
    Derived,
    Input,
    ModelAsked,
    ModelReasked,
    TimerFired,
    TurnCompleted,
    TurnFailed,
    VotesTallied,
)
from events.values import Blob, Semantics
from projections.replay import Replay, replay, verify
from tests.session_logs import (
    SessionLog,
    answered,
    append_all,
    eventful_log,
    failed,
    session_config,
)


def run(log: SessionLog, events: Sequence[Event] | None = None) -> Replay:
    return verify(log.events if events is None else events, log.load)


def broadcast() -> SessionLog:
    log = SessionLog(session_config())
    log.post("one")
    log.play(random=Random(1))
    log.post("two")
    log.outcome("ask:bob:1", failed())
    log.play()
    return log


def coordinator() -> SessionLog:
    log = SessionLog(session_config(pattern="coordinator"))
    log.post("one")
    log.play()
    log.post("two")
    log.outcome("ask:ada:1", answered("no plan at all"))
    log.play()
    return log


def voting() -> SessionLog:
    log = SessionLog(session_config(pattern="voting"))
    log.post("one")
    log.play(random=Random(3))
    return log


def debate() -> SessionLog:
    log = SessionLog(session_config(pattern="round_robin", rounds=2))
    log.post("one")
    log.play()
    return log


def one_after_another() -> SessionLog:
    log = SessionLog(session_config(pattern="round_robin"))
    for text in ("one", "two", "three", "four"):
        log.post(text)
        log.play()
    return log


def eventful() -> SessionLog:
    """Retries, queued and cancelled turns, a pause, a new configuration, a deadline, long texts."""
    log = SessionLog(session_config())
    first = log.post("one")
    log.post("queued")
    unwanted = log.post("queued and called off")
    log.cancel(unwanted, "never mind")
    log.outcome("ask:ada:1", answered(log.blobs.put(b"long " * 20_000)))
    log.pause()
    log.outcome("ask:cyd:1", answered("while paused"))
    log.resume()
    log.outcome("ask:bob:1", ModelReasked(attempt=2, reason="nothing was heard"))
    log.outcome("ask:bob:1", failed(attempt=2))
    log.play()
    log.retry(first, "bob")
    log.play()
    log.retry(first, "ada")
    log.play()
    log.reconfigure(models=[m.model_dump() for m in log.config.models[:2]], title="smaller")
    slow = log.post("too slow")
    log.outcome("ask:ada:1", answered("just in time"))
    log.give(TimerFired(), slow, DEADLINE)
    log.cancel(log.post("away with it"))
    log.post("open when closed")
    log.post("queued when closed")
    log.close()
    return log


KINDS = [broadcast, coordinator, voting, debate, one_after_another, eventful]
every_kind = pytest.mark.parametrize("make", KINDS)


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


def with_data(log: SessionLog, type: type[Derived], **changes: Any) -> tuple[list[Event], Event]:
    """The log with its last event of that type changed, and that event as it was."""
    events = log.events
    index = max(i for i, event in enumerate(events) if isinstance(event.data, type))
    true = events[index]
    events[index] = replace(true, data=true.data.model_copy(update=changes))
    return events, true


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


# --- scripts and facts ---------------------------------------------------------------------------


async def asks_ada(turn: Turn) -> Answer | None:
    outcome = await turn.ask("ada")
    return outcome if isinstance(outcome, Answer) else None


async def asks_bob(turn: Turn) -> Answer | None:
    outcome = await turn.ask("bob")
    return outcome if isinstance(outcome, Answer) else None


def test_a_scripted_turn_replays_on_its_recorded_source_alone() -> None:
    source = Blob.of(b"async def route(turn): ...", "text/x-python")
    config = session_config(pattern="script", script="mine:route")
    log = SessionLog(config, script=source, scripts=lambda blob, entry: asks_ada)
    log.post("one")
    log.play()
    asked: list[tuple[Blob, str]] = []

    def scripts(blob: Blob, entry: str) -> Callable[[Turn], Any]:
        asked.append((blob, entry))
        return asks_ada

    assert verify(log.events, log.load, scripts).identical
    assert asked == [(source, "mine:route")]
    other = verify(log.events, log.load, lambda blob, entry: asks_bob)
    assert other.divergence is not None
    assert other.divergence.position == 3
    assert other.divergence.actual is not None
    assert other.divergence.actual["step"] == "ask:bob:1"
    with pytest.raises(ConfigError, match="turn t1 runs a script"):
        verify(log.events, log.load)


def test_other_facts_are_another_turn() -> None:
    log = coordinator()
    result = verify(log.events, lambda blob: "{}" if "json" in blob.media_type else log.load(blob))
    assert result.divergence is not None
    assert result.divergence.position == 3


def test_a_turn_of_a_newer_release_is_named_with_its_position() -> None:
    log = broadcast()
    events = log.events
    index = next(i for i, e in enumerate(events) if e.turn == "t2" and e.type == "turn.started")
    newer = events[index].data.model_copy(update={"semantics": Semantics(router=99)})
    events[index] = replace(events[index], data=newer)
    with pytest.raises(UnknownEvent, match=f"s1 at position {index + 1}: .*99"):
        verify(events, log.load)


def test_a_blob_that_is_gone_is_an_error_of_the_store() -> None:
    log = broadcast()

    def load(blob: Blob) -> str:
        raise StoreError(f"blob {blob.sha256} is not in the store")

    with pytest.raises(StoreError, match="not in the store"):
        verify(log.events, load)


# --- out of a store ------------------------------------------------------------------------------


@every_kind
async def test_a_stored_session_replays(make: Callable[[], SessionLog], tmp_path: Path) -> None:
    log = make()
    store = open_store(f"sqlite:///{tmp_path}/room.db")
    await append_all(store, [log])
    result = await replay(store, log.blobs, "s1")
    assert result == run(log)
    assert result.identical
    with pytest.raises(NotFound, match="'s2'"):
        await replay(store, log.blobs, "s2")
    await store.close()


async def test_an_event_of_another_release_is_named_with_its_position() -> None:
    log = voting()
    recorder = MemoryRecorder()
    store = Journal(recorder)
    await append_all(store, [log])
    older = Journal(
        recorder, Codec(Registry([p for p in PAYLOADS if p is not VotesTallied])), read_only=True
    )
    position = next(e.position for e in log.events if e.type == "votes.tallied")
    with pytest.raises(
        UnknownEvent, match=f"s1 at position {position}: event type 'votes.tallied'"
    ):
        await replay(older, log.blobs, "s1")
    await older.close()
    await store.close()


def test_turns_end_as_they_ended() -> None:
    log = eventful()
    ends = [e.data for e in log.events if isinstance(e.data, TurnCompleted | TurnFailed)]
    assert len({type(end) for end in ends}) == 2
    events, true = with_data(log, TurnFailed, message="because")
    result = run(log, events)
    assert result.divergence is not None
    assert result.divergence.position == true.position
