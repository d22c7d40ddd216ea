"""A store that fails each append of a turn once: nothing is asked that is not in the log."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from actors import conductor
from actors.messages import Ask
from events.envelope import Event, Head
from events.errors import StoreError
from events.store import EventStore
from events.types import ModelAsked, ModelReasked
from tests.rooms import LocalRoom, local_room
from tests.sound_log import assert_ended, assert_sound, by_stream
from tests.waiting import eventually

MOST = 14
"""More appends than the turn below takes."""

Attempt = tuple[str, str | None, str | None, int]


class FailingOnce:
    """Refuses the nth append to session `s<n>`, before or after the store has taken it."""

    def __init__(self, store: EventStore, *, taken: bool) -> None:
        self._store = store
        self._taken = taken
        self._appends: Counter[str] = Counter()
        self.failed: set[str] = set()
        self.durable: set[Attempt] = set()

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        self._appends[stream] += 1
        fails = stream == f"s{self._appends[stream]}"
        if fails and not self._taken:
            self._refuse(stream)
        head = await self._store.append(stream, after, batch)
        self.durable |= {
            (stream, event.turn, event.step, getattr(event.data, "attempt", 1))
            for event in batch
            if isinstance(event.data, ModelAsked | ModelReasked)
        }
        if fails:
            self._refuse(stream)
        return head

    def _refuse(self, stream: str) -> None:
        self.failed.add(stream)
        raise StoreError("the disk was away for a moment", retryable=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("taken", [False, True], ids=["refused", "taken, but not said so"])
async def test_a_turn_ends_once_whichever_append_of_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    monkeypatch.setattr(conductor, "AGAIN", 0.05)
    async with local_room(tmp_path) as room:
        await room.stop_router()
        room.store = store = FailingOnce(room.store, taken=taken)
        await room.start_router()
        asked = watch_questions(room, store)
        names = [f"s{n}" for n in range(1, MOST + 1)]
        await asyncio.gather(*(hold(room, name) for name in names))

        async def ended() -> dict[str, list[Event]]:
            streams = await by_stream(room.room.store)
            for name in names:
                assert_ended(streams[name], ("t1",))
            return streams

        streams = await eventually(ended, within=60, what="the end of every turn")
        # Each append failed somewhere: of s14 there was no fourteenth.
        failed = sorted(int(name[1:]) for name in store.failed)
        assert failed == list(range(1, len(failed) + 1))
        assert 5 <= len(failed) < MOST
        for name in names:
            ends = [e.type for e in streams[name] if e.type.startswith("turn.")]
            assert ends == ["turn.started", "turn.completed"]
        early = [key for key, known in asked.items() if not all(known)]
        assert not early, "these were asked before the log held them"
        assert len(asked) >= 3 * MOST
        await assert_sound(room.room.store, room.blobs, dict.fromkeys(names, ("t1",)))


def watch_questions(room: LocalRoom, store: FailingOnce) -> dict[Attempt, list[bool]]:
    """Whether the log held each question at the moment when the router sent it."""
    asked: dict[Attempt, list[bool]] = defaultdict(list)
    publish = room.router_bus.publish

    async def watched(subject: str, payload: bytes | BaseModel) -> None:
        if isinstance(payload, Ask):
            key = (payload.session, payload.turn, payload.step, payload.attempt)
            asked[key].append(key in store.durable)
        await publish(subject, payload)

    room.router_bus.publish = watched  # type: ignore[method-assign]
    return asked


async def hold(room: LocalRoom, name: str) -> None:
    """A session and a turn in it, by a client that repeats what was not acknowledged."""
    models = [
        {"id": id, "provider": "paced", "model_name": kind, "role": id.upper()}
        for id, kind in (("a", "steady"), ("b", "failing"), ("c", "instant"))
    ]
    session = {
        "session_id": name, "models": models, "routing_pattern": "coordinator", "coordinator": "a"
    }  # fmt: skip

    async def sent(path: str, body: dict[str, Any]) -> bool:
        headers = {"Idempotency-Key": f"{name}{path}"}
        answer = await room.http.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201, 202, 503), answer.text
        return answer.status_code != 503

    for path, body in (("", session), (f"/{name}/turns", {"content": "Hello"})):
        await eventually(
            lambda path=path, body=body: sent(f"/v1/sessions{path}", body),  # type: ignore[misc]
            within=30,
            what="the room's yes",
        )
