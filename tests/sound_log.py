"""What has to hold of a room's log and projections, whatever happened to its processes."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from events.account import PREFIX
from events.envelope import Event
from events.store import BlobStore, EventStore
from events.types import (
    TURN_ENDS,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    TurnQueued,
    TurnStarted,
)
from projections.audit import audit
from projections.database import open_reader
from projections.replay import replay
from projections.runner import ProjectionRunner
from tests.projected import dump
from tests.waiting import eventually

PAGE = 1000

Acknowledged = Mapping[str, Iterable[str]]
"""Turns that the room said yes to, by session."""


async def by_stream(store: EventStore) -> dict[str, list[Event]]:
    """All events, in the order in which they were committed; asserts that none is there twice."""
    streams: dict[str, list[Event]] = defaultdict(list)
    after = 0
    while page := await store.read_all(after, PAGE):
        sequences = [recorded.sequence for recorded in page]
        assert sequences == sorted(set(sequences))
        assert sequences[0] > after
        after = sequences[-1]
        for recorded in page:
            streams[recorded.event.stream].append(recorded.event)
    for stream, events in streams.items():
        assert [event.position for event in events] == list(range(1, len(events) + 1)), stream
        assert await store.read(stream) == events
    ids = Counter(event.id for events in streams.values() for event in events)
    assert max(ids.values(), default=1) == 1
    return streams


def assert_ended(events: Sequence[Event], acknowledged: Iterable[str] = ()) -> None:
    """Every turn has ended once, and every step in it has one outcome."""
    begun = {event.turn for event in events if isinstance(event.data, TurnQueued | TurnStarted)}
    started = Counter(event.turn for event in events if isinstance(event.data, TurnStarted))
    ends = Counter(event.turn for event in events if isinstance(event.data, TURN_ENDS))
    assert begun >= set(acknowledged), "an acknowledged turn is not in the log"
    assert ends == Counter(begun), f"turns that have not ended, or twice: {ends} of {begun}"
    assert max(started.values(), default=1) == 1
    asked = Counter((e.turn, e.step) for e in events if isinstance(e.data, ModelAsked))
    settled = ModelAnswered | ModelFailed | ModelCancelled
    outcomes = Counter((e.turn, e.step) for e in events if isinstance(e.data, settled))
    assert max(asked.values(), default=1) == 1
    assert outcomes == asked
    commands = Counter(e.command for e in events if e.command and e.data.kind == "input")
    assert max(commands.values(), default=1) == 1, "a command took effect twice"


async def assert_sound(store: EventStore, blobs: BlobStore, acknowledged: Acknowledged) -> int:
    """Nothing was lost or doubled, the chain holds, every session replays; returns its events."""
    streams = await by_stream(store)
    assert streams.keys() >= acknowledged.keys()
    for stream, events in streams.items():
        assert_ended(events, acknowledged.get(stream, ()))
    report = await audit(store, blobs)
    assert report.intact, report.faults
    assert report.events == sum(map(len, streams.values()))
    for stream in streams:
        if stream.startswith(PREFIX):
            continue  # an account: its owner's decisions, which no router made
        replayed = await replay(store, blobs, stream)
        assert replayed.identical, (stream, replayed.divergence)
    return report.events


async def assert_projected(
    store: EventStore, database: Path, folder: Path, *, within: float = 60
) -> None:
    """The projections hold just what a rebuild from the first event on gives.

    `folder` is for the rebuild. Nothing may be appended meanwhile.
    """
    last = await store.last()
    reader = open_reader(database)
    try:
        await eventually(
            lambda: asyncio.to_thread(lambda: reader.tracked() >= last),
            within=within,
            what="projections of the whole log",
        )
    finally:
        reader.close()
    fresh = folder / "rebuilt.db"
    fresh.unlink(missing_ok=True)
    async with ProjectionRunner(store, fresh) as runner:
        assert await runner.rebuild() == last
    assert await asyncio.to_thread(dump, database) == await asyncio.to_thread(dump, fresh)
