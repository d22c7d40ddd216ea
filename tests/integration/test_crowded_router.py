"""A router with more sessions than it keeps in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors import router
from events.envelope import Event, Head
from events.errors import Conflict
from events.store import EventStore
from events.types import ModelReasked
from tests.rooms import LocalRoom, local_room
from tests.sound_log import assert_ended, assert_sound, by_stream
from tests.waiting import eventually

NAMES = ("one", "two", "three", "four")


class Watched:
    """The router's event store: how often it read each session, and what was refused."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.reads: Counter[str] = Counter()
        self.conflicts = 0

    async def read(self, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
        self.reads[stream] += 1
        return await self._store.read(stream, after, limit)

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        try:
            return await self._store.append(stream, after, batch)
        except Conflict:
            self.conflicts += 1
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_sessions_in_which_something_goes_on_stay_though_they_are_more_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "KEPT", 1)
    async with local_room(tmp_path) as room:
        await room.stop_router()
        room.store = watched = Watched(room.store)
        await room.start_router()
        for name in NAMES:
            await room.create(name, "a:steady b:steady")
            await room.post(name, "One")
            await room.post(name, "Two")
        assert watched.reads == dict.fromkeys(NAMES, 1)
        await ended(room, dict.fromkeys(NAMES, ("t1", "t2")))
        # Nobody's state was dropped and made again from the log, nor kept by two at once.
        assert watched.reads == dict.fromkeys(NAMES, 1)
        assert watched.conflicts == 0

        await room.create("five", "a")  # makes room: nothing goes on in the others any more
        assert room.router
        assert (await room.router.health())["sessions"] == 1
        await room.post("one", "Three")
        streams = await ended(room, {"one": ("t1", "t2", "t3")})
        assert watched.reads["one"] == 2
        assert not [e for events in streams.values() for e in events if is_reasked(e)]
        await assert_sound(room.store, room.blobs, dict.fromkeys(NAMES, ("t1", "t2")))


def is_reasked(event: Event) -> bool:
    return isinstance(event.data, ModelReasked)


async def ended(room: LocalRoom, turns: dict[str, tuple[str, ...]]) -> dict[str, list[Event]]:
    """The log, once these turns have ended."""

    async def look() -> dict[str, list[Event]]:
        streams = await by_stream(room.room.store)
        for name, ids in turns.items():
            assert_ended(streams[name], ids)
        return streams

    return await eventually(look, within=60, what="the end of every turn")
