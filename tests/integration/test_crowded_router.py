"""A router with more sessions than it keeps, and one that meets a turn it cannot continue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors import grounds, router
from actors.routing import machine
from tests.rooms import LocalRoom, local_room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path) as room:
        yield room


async def test_busy_sessions_stay_though_they_are_more_than_are_kept(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "KEPT", 1)
    names = ("one", "two", "three")
    turns = {}
    for name in names:
        await room.create(name, "a:slow")
        turns[name] = (await room.post(name))["turn"]
    for name in names:
        answer = await room.http.post(f"/v1/sessions/{name}/turns/{turns[name]}/cancel")
        assert answer.status_code == 200, answer.text


async def test_a_turn_of_another_release_can_be_cancelled(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.create("old", "a:slow")
    turn = (await room.post("old"))["turn"]
    await room.stop_router()
    for place in (machine, grounds):
        monkeypatch.setattr(place, "ENGINE", 2)
    await room.start_router()
    assert (await room.http.get("/v1/sessions/old")).json()["turns"]["open"] == turn
    cancelled = await room.http.post(f"/v1/sessions/old/turns/{turn}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    assert (await room.post("old", "Again", wait=0))["turn"] != turn
