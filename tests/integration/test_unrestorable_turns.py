"""A router finds an open turn that it cannot continue: it can be read, cancelled and closed."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from actors import grounds
from actors.routing import machine, versions
from events.types import TurnCompleted, TurnFailed, TurnStarted
from tests.rooms import LocalRoom, local_room
from tests.waiting import eventually

SCRIPT = """
async def route(turn):
    return await turn.ask(turn.participants[0].id)
"""


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path) as room:
        room.settings.scripts_path.mkdir(exist_ok=True)
        (room.settings.scripts_path / "once.py").write_text(SCRIPT)
        yield room


Lose = Callable[[LocalRoom], Awaitable[str]]


@pytest.fixture(params=["another release", "a script that was lost"])
def lose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Makes a router start that cannot continue the open turn of session `old`: its id."""

    async def lose(room: LocalRoom) -> str:
        posted = await room.post("old")
        await room.post("old", "Behind it")
        await room.stop_router()
        if request.param == "another release":
            for place in (machine, grounds):
                monkeypatch.setattr(place, "ENGINE", 99)
            monkeypatch.setattr(versions, "ENGINES", (99,))
        else:
            kinds = [event.data for event in await room.store.read("old")]
            (started,) = [one for one in kinds if isinstance(one, TurnStarted)]
            assert started.semantics.script
            digest = started.semantics.script.sha256
            (room.settings.home / "room.blobs" / digest[:2] / digest).unlink()
        await room.start_router()
        return str(posted["turn"])

    return lose


async def create(room: LocalRoom, **changes: Any) -> None:
    await room.create("old", "a:slow", routing_pattern="script", script="once:route", **changes)


async def test_it_can_be_read_and_cancelled_and_the_next_goes_on(
    room: LocalRoom, lose: Lose
) -> None:
    await create(room)
    turn = await lose(room)
    session = (await room.http.get("/v1/sessions/old")).json()
    assert session["turns"]["open"] == turn
    events = (await room.http.get("/v1/sessions/old/events")).json()["events"]
    assert "turn.started" in [event["type"] for event in events]
    said = await room.http.get("/v1/sessions/old/transcript")
    assert "Hello" in said.text
    cancelled = await room.http.post(f"/v1/sessions/old/turns/{turn}/cancel")
    assert cancelled.status_code == 200, cancelled.text
    assert (await room.http.get("/v1/sessions/old")).json()["turns"]["open"] == "t2"
    again = await room.http.post("/v1/sessions/old/turns/t2/cancel")
    assert again.status_code == 200, again.text


async def test_its_session_can_be_closed(room: LocalRoom, lose: Lose) -> None:
    await create(room)
    await lose(room)
    closed = await room.http.post("/v1/sessions/old/close")
    assert closed.status_code == 200, closed.text
    types = [event.type for event in await room.store.read("old")]
    assert types.count("turn.cancelled") == 2
    assert types[-1] == "session.closed"


async def test_its_deadline_ends_it(room: LocalRoom, lose: Lose) -> None:
    await create(room, deadline=1)
    turn = await lose(room)

    async def ended() -> bool:
        events = await room.store.read("old")
        return any(isinstance(e.data, TurnFailed) and e.turn == turn for e in events)

    await eventually(ended, within=30, what="the end of the turn")
    failed = [e.data for e in await room.store.read("old") if isinstance(e.data, TurnFailed)]
    assert failed[0].reason == "deadline"


async def test_a_turn_that_could_not_be_read_at_once_goes_on(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(room)
    turn = (await room.post("old"))["turn"]
    await room.stop_router()
    reads, failed = Path.read_bytes, list[Path]()

    def once(path: Path) -> bytes:
        if not failed and path.parent.parent.name == "room.blobs":
            failed.append(path)
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return reads(path)

    monkeypatch.setattr(Path, "read_bytes", once)
    await room.start_router()

    async def completed() -> bool:
        events = await room.store.read("old")
        return any(isinstance(e.data, TurnCompleted) and e.turn == turn for e in events)

    await eventually(completed, within=30, what="the end of the turn")
    assert len(failed) == 1
