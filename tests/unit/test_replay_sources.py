"""What replay needs beside the log: scripts, blobs, releases and a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.deciding import NotFound
from actors.routing.steps import Answer
from actors.routing.turn import Turn
from events.codec import Codec
from events.errors import ConfigError, StoreError, UnknownEvent
from events.journal import Journal
from events.open import open_store
from events.recorders.memory import MemoryRecorder
from events.registry import Registry
from events.types import PAYLOADS, VotesTallied
from events.values import Blob, Semantics
from projections.replay import replay, verify
from tests.session_logs import SessionLog, append_all, session_config
from tests.unit.replayed_logs import broadcast, coordinator, every_kind, run, voting


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
