"""A router that dies right after a commit, at whichever, and what its successor makes of the log.

The commits of a real room are recorded; then a store is made for every place at which a router may
have stopped, as it would have left it, and another room goes on from there.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.router import RouterActor
from events.envelope import Event, Head
from events.errors import StoreError
from events.store import EventStore
from events.types import (
    TURN_ENDS,
    ModelAnswered,
    ModelReasked,
    SessionCreated,
    SessionPaused,
    SessionResumed,
)
from tests.rooms import LocalRoom, local_room
from tests.sound_log import assert_ended, assert_projected, assert_sound, by_stream
from tests.waiting import eventually

Commits = list[list[Event]]
PATTERNS: dict[str, dict[str, Any]] = {
    "broadcast": {},
    "coordinator": {"coordinator": "a"},
    "round_robin": {},
    "voting": {},
}


class Recording:
    """The event store of a room, and the commits that were made through it, by session."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.commits: dict[str, Commits] = defaultdict(list)

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        head = await self._store.append(stream, after, batch)
        self.commits[stream].append(list(batch))
        return head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_after_any_commit_the_next_router_brings_every_turn_to_its_end(
    tmp_path: Path,
) -> None:
    recorded = await recorded_commits(tmp_path / "first")
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "first" / "room.blobs", second / "room.blobs")
    acknowledged = {}
    async with local_room(second) as room:
        await room.stop_router()
        for session, commits in recorded.items():
            for count in range(1, len(commits) + 1):
                left = [event for batch in commits[:count] for event in batch]
                copy = f"{session}-{count}"
                await room.store.append(copy, 0, [of_stream(event, copy) for event in left])
                acknowledged[copy] = {event.turn for event in left if event.turn is not None}
        await room.start_router()
        paused = [name for name in acknowledged if await is_paused(room.store, name)]
        assert paused, "no router stopped while its session was paused"
        for name in paused:
            assert (await room.http.post(f"/v1/sessions/{name}/resume")).is_success
        streams = await all_ended(room, acknowledged)

        for session, commits in recorded.items():
            whole = told([event for batch in commits for event in batch])
            for count in range(1, len(commits) + 1):
                again = [e.data for e in streams[f"{session}-{count}"]]
                assert {e.attempt for e in again if isinstance(e, ModelReasked)} <= {2}
                turns = acknowledged[f"{session}-{count}"]
                now = told(streams[f"{session}-{count}"])
                assert now == {turn: whole[turn] for turn in turns}, (session, count)
        await assert_sound(room.store, room.blobs, acknowledged)
        await assert_projected(room.store, room.settings.projections_path, tmp_path)


async def recorded_commits(home: Path) -> dict[str, Commits]:
    """Sessions under every router, with a turn that waits for another and one that is paused."""
    async with local_room(home) as room:
        await room.stop_router()
        recording = Recording(room.store)
        room.store = recording
        await room.start_router()
        for pattern, more in PATTERNS.items():
            models = "a:steady b:failing c:steady"
            await room.create(pattern, models, routing_pattern=pattern, **more)
            posted = [await room.post(pattern, text) for text in ("One", "Two")]
            assert [turn["status"] for turn in posted] == ["open", "queued"]
        await room.create("paused", "a:steady b:steady")
        await room.post("paused", "One")
        assert (await room.http.post("/v1/sessions/paused/pause")).is_success
        await room.post("paused", "Two")
        async with room.following("paused") as follower:
            for _ in "ab":
                await follower.until("model.answered")
            assert (await room.http.post("/v1/sessions/paused/resume")).is_success
        await all_ended(room, dict.fromkeys(recording.commits, ("t1", "t2")))
        return recording.commits


async def all_ended(room: LocalRoom, sessions: dict[str, Any]) -> dict[str, list[Event]]:
    """The log, once every turn in it has ended."""

    async def ended() -> dict[str, list[Event]]:
        streams = await by_stream(room.store)
        for name, turns in sessions.items():
            assert_ended(streams[name], turns)
        return streams

    return await eventually(ended, within=90, what="the end of every turn")


def of_stream(event: Event, stream: str) -> Event:
    data = event.data
    if isinstance(data, SessionCreated):
        config = data.config.model_copy(update={"session_id": stream})
        data = data.model_copy(update={"config": config})
    return replace(event, stream=stream, data=data)


async def is_paused(store: EventStore, stream: str) -> bool:
    states = [
        event.data
        for event in await store.read(stream)
        if isinstance(event.data, SessionPaused | SessionResumed)
    ]
    return bool(states) and isinstance(states[-1], SessionPaused)


def told(events: Sequence[Event]) -> dict[str, tuple[str, frozenset[str | None]]]:
    """How every turn ended and which of its steps were answered."""
    ends = {event.turn: event.type for event in events if isinstance(event.data, TURN_ENDS)}
    answers = [event for event in events if isinstance(event.data, ModelAnswered)]
    return {
        turn: (end, frozenset(answer.step for answer in answers if answer.turn == turn))
        for turn, end in ends.items()
        if turn is not None
    }


async def test_a_model_that_finished_while_no_router_was_there_is_heard_by_the_next(
    tmp_path: Path,
) -> None:
    async with local_room(tmp_path) as room:
        await room.create("s1", "a:steady b:steady c:steady")
        await room.post("s1")
        assert isinstance(room.router, RouterActor)
        await room.stop_router()

        async def undelivered() -> bool:
            (said,) = (await room.models.health())["actors"]
            return bool(said["undelivered"] == 3 and said["running"] == 0)

        await eventually(undelivered, within=30, what="three answers that nobody takes")
        before = await room.store.read("s1")
        assert not [event for event in before if isinstance(event.data, ModelAnswered)]
        await room.start_router()
        streams = await all_ended(room, {"s1": ("t1",)})
        answers = [e.data for e in streams["s1"] if isinstance(e.data, ModelAnswered)]
        assert [answer.attempt for answer in answers] == [1, 1, 1], "paid answers were asked twice"
        await asyncio.wait_for(nothing_kept(room), 30)
        await assert_sound(room.store, room.blobs, {"s1": ("t1",)})


async def nothing_kept(room: LocalRoom) -> None:
    async def delivered() -> bool:
        (said,) = (await room.models.health())["actors"]
        return bool(said["undelivered"] == 0)

    await eventually(delivered, within=30, what="receipts of every answer")


class Unwilling(Recording):
    """An event store that does not take anything for a while."""

    def __init__(self, store: EventStore) -> None:
        super().__init__(store)
        self.willing = True
        self.refused = asyncio.Event()

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        if not self.willing:
            self.refused.set()
            raise StoreError("the disk is full", retryable=True)
        return await super().append(stream, after, batch)


async def test_a_deadline_is_kept_though_the_store_was_away_when_it_came(tmp_path: Path) -> None:
    async with local_room(tmp_path) as room:
        await room.stop_router()
        room.store = store = Unwilling(room.store)
        await room.start_router()
        late = {"id": "a", "provider": "rehearsal", "model_name": "late"}  # says nothing for 8 s
        answer = await room.http.post(
            "/v1/sessions", json={"session_id": "s1", "models": [late], "deadline": 1}
        )
        assert answer.is_success, answer.text
        await room.post("s1")
        store.willing = False
        await asyncio.wait_for(store.refused.wait(), 20)
        store.willing = True
        streams = await all_ended(room, {"s1": ("t1",)})
        kinds = [event.type for event in streams["s1"]]
        assert kinds[3:6] == ["timer.fired", "model.cancelled", "turn.failed"]
        await assert_sound(room.store, room.blobs, {"s1": ("t1",)})
