"""`kill -9` of everything, one thing at a time, in the middle of a turn.

One room serves all tests of this file; the last one stops it and looks at everything it has kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.live_room import LiveRoom
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

FIVE = ("rehearsal/steady", "brisk/steady", "brisk/failing", "brisk/stalling", "brisk/cutting")
PROVIDERS = (
    {
        "id": "brisk",
        "type": "rehearsal",
        "config": {"pace": 10, "stall_timeout": 0.5, "tries": 1},
    },
)


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveRoom]:
    room = LiveRoom(tmp_path_factory.mktemp("live") / "home", PROVIDERS)
    await room.start()
    yield room
    await room.end()


async def test_models_that_fail_and_stall_leave_the_others_intact(room: LiveRoom) -> None:
    await room.create("failures", *FIVE)
    turn = await room.post("failures")
    events = await room.ended("failures", turn)
    assert events[-1].type == "turn.completed"
    outcomes = {e.step: e for e in events if e.type in ("model.answered", "model.failed")}
    assert {step: event.type for step, event in outcomes.items()} == {
        "ask:p1:1": "model.answered",
        "ask:p2:1": "model.answered",
        "ask:p3:1": "model.failed",
        "ask:p4:1": "model.failed",
        "ask:p5:1": "model.failed",
    }
    assert outcomes["ask:p4:1"].payload["error"] == "ProviderUnavailable"
    assert outcomes["ask:p5:1"].payload["error"] == "BadResponse"


async def test_a_model_killed_mid_stream_is_asked_again(room: LiveRoom) -> None:
    await room.create("model", "rehearsal/steady", "brisk/steady")
    turn = await room.post("model")
    await room.hear("model", "ask:p1:1")
    os.kill(room.pid_of_model("rehearsal", "steady"), signal.SIGKILL)
    events = await room.ended("model", turn)
    assert events[-1].type == "turn.completed"
    asked_again = [event for event in events if event.type == "model.reasked"]
    assert [event.step for event in asked_again] == ["ask:p1:1"]
    answers = {event.step: event for event in events if event.type == "model.answered"}
    assert set(answers) == {"ask:p1:1", "ask:p2:1"}
    assert answers["ask:p1:1"].payload["attempt"] == 2


async def test_a_router_killed_mid_turn_takes_the_answer_that_came_meanwhile(
    room: LiveRoom,
) -> None:
    await room.create("router", "rehearsal/steady", "brisk/steady")
    turn = await room.post("router")
    await room.hear("router", "ask:p1:1")
    old = room.kill("router-0")
    events = await room.ended("router", turn)
    await room.back("router-0", old)
    assert events[-1].type == "turn.completed"
    assert [event.type for event in events].count("model.answered") == 2
    # Its models worked on and were heard, so nobody was asked, and paid, twice.
    assert "model.reasked" not in [event.type for event in events]


async def test_the_api_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("api", "rehearsal/steady")
    turn = await room.post("api")
    # This client is connected while the API dies, and comes back by itself.
    watching = asyncio.create_task(room.ended("api", turn))
    await room.hear("api", "ask:p1:1")
    old = room.kill("api")
    events = await watching
    assert events[-1].type == "turn.completed"
    await room.back("api", old)


async def test_nats_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("nats", "rehearsal/steady", "brisk/steady")
    turn = await room.post("nats")
    await room.hear("nats", "ask:p1:1")
    old = room.kill("nats")
    events = await room.ended("nats", turn)
    assert events[-1].type == "turn.completed"
    assert [event.type for event in events].count("model.answered") == 2
    await room.back("nats", old)


async def test_the_projector_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("projector", "rehearsal/steady")
    turn = await room.post("projector")
    await room.hear("projector", "ask:p1:1")
    old = room.kill("projector")
    events = await room.ended("projector", turn)
    await room.back("projector", old)

    async def caught_up() -> object:
        transcript = await room.client.transcript("projector")
        return bool(transcript["position"] == events[-1].position)

    await eventually(caught_up, within=60, what="the transcript")


async def test_the_supervisor_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("supervisor", "rehearsal/steady")
    turn = await room.post("supervisor")
    await room.hear("supervisor", "ask:p1:1")
    router = room.pid("router-0")
    room.kill("supervisor")
    assert (await room.client.session("supervisor"))["status"] == "active"  # reads go on
    events = await room.ended("supervisor", turn, within=150)
    assert events[-1].type == "turn.completed"
    await room.back("router-0", router)


@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "group"])
async def test_the_room_killed_mid_turn_and_started_again(
    room: LiveRoom, whole_group: bool
) -> None:
    session = f"room-{whole_group}"
    await room.create(session, "rehearsal/steady", "brisk/steady", routing_pattern="voting")
    turn = await room.post(session)
    waiting = await room.post(session, "And then?")
    await room.hear(session, "ask:p1:1")
    processes = room.processes()
    assert len(processes) > 5
    assert room.process
    if whole_group:
        os.killpg(room.process.pid, signal.SIGKILL)
    else:
        room.process.kill()
    await room.process.wait()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    await room.start()
    await room.ended(session, turn)
    events = await room.ended(session, waiting)
    assert [e.turn for e in events if e.type == "turn.completed"] == [turn, waiting]


async def test_nothing_was_lost_in_all_of_this(room: LiveRoom, tmp_path: Path) -> None:
    said = await room.stop()
    assert "Traceback" not in said
    await room.check(tmp_path)
