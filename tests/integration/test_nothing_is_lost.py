"""`kill -9` of everything, one thing at a time, in the middle of a turn.

One room serves all tests of this file; the last one stops it and looks at everything it has kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from events.config import SessionConfig
from events.envelope import now
from events.open import open_blobs, open_store
from tests.live_room import READY_WITHIN, LiveRoom
from tests.sessions import Driven
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(2 * READY_WITHIN)

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


CHAIN = {
    "chain_type": "sequential",
    "steps": [
        {"model_id": "p1", "prompt_template": "Plan {topic}.", "output_key": "plan"},
        {"model_id": "p2", "prompt_template": "Write about {topic}: {plan}"},
    ],
    "input_variables": ["topic"],
}


@pytest.mark.parametrize("victim", ["api", "workflows-langchain"])
async def test_a_workflow_that_is_broken_off_asks_nothing_twice(
    room: LiveRoom, victim: str
) -> None:
    run = f"run-{victim}"
    await room.create(
        run,
        "brisk/instant",
        "brisk/slow",
        routing_pattern="workflow",
        workflow={"framework": "langchain", "config": CHAIN},
    )
    turn = await room.post(run, '{"topic": "owls"}')
    await room.hear(run, "ask:p2:1")
    old = room.kill(victim)
    await room.back(victim, old)
    events = await room.ended(run, turn)
    assert events[-1].type == "turn.completed"
    kinds = [event.type for event in events]
    assert "run.restarted" in kinds
    assert kinds.count("run.asked") == kinds.count("model.answered") == 2
    report = await room.client.replay_run(run)
    assert report == {"identical": True, "calls": 2, "divergence": None}


async def test_a_model_killed_mid_stream_is_asked_again(room: LiveRoom) -> None:
    await room.create("model", "rehearsal/steady", "brisk/steady")
    turn = await room.post("model")
    await room.hear("model", "ask:p1:1")
    host = room.names()[room.pid_of_model("rehearsal", "steady")]
    old = room.kill(host)
    events = await room.ended("model", turn)
    assert events[-1].type == "turn.completed"
    asked_again = [event for event in events if event.type == "model.reasked"]
    assert [event.step for event in asked_again] == ["ask:p1:1"]
    answers = {event.step: event for event in events if event.type == "model.answered"}
    assert set(answers) == {"ask:p1:1", "ask:p2:1"}
    assert answers["ask:p1:1"].payload["attempt"] == 2

    # Who comes later finds it there.
    await room.back(host, old)
    turn = await room.post("model", "And then?")
    events = await room.ended("model", turn)
    assert [e.turn for e in events if e.type == "model.reasked"] == ["t1"]


async def test_a_router_killed_mid_turn_takes_the_answer_that_came_meanwhile(
    room: LiveRoom,
) -> None:
    await room.create("router", "rehearsal/steady", "brisk/steady")
    turn = await room.post("router")
    await room.hear("router", "ask:p1:1")
    old = room.kill("router-0")
    later = await room.post("router", "And then?")  # waits for the next router
    events = await room.ended("router", later)
    await room.back("router-0", old)
    assert [e.turn for e in events if e.type == "turn.completed"] == [turn, later]
    assert [event.type for event in events].count("model.answered") == 4
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
    assert "api was ended by SIGKILL; starting it again" in room.said[-1]


async def test_nats_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("nats", "rehearsal/steady", "brisk/steady")
    turn = await room.post("nats")
    await room.hear("nats", "ask:p1:1")
    old = room.kill("nats")
    later = await room.post("nats", "And then?")
    events = await room.ended("nats", later)
    assert [e.turn for e in events if e.type == "turn.completed"] == [turn, later]
    assert [event.type for event in events].count("model.answered") == 4
    await room.back("nats", old)
    assert "nats-server was ended by SIGKILL; starting it again" in room.said[-1]


async def test_the_projector_killed_mid_turn(room: LiveRoom) -> None:
    await room.create("projector", "rehearsal/steady")
    turn = await room.post("projector")
    await room.hear("projector", "ask:p1:1")
    old = room.kill("projector")
    events = await room.ended("projector", turn)
    await room.back("projector", old)

    async def caught_up() -> bool:
        transcript = await room.client.transcript("projector")
        return bool(transcript["position"] == events[-1].position)

    await eventually(caught_up, within=60, what="the transcript")


@pytest.mark.parametrize("victim", ["supervisor", "raylet"])
async def test_ray_killed_mid_turn(room: LiveRoom, victim: str) -> None:
    await room.create(victim, "rehearsal/steady")
    turn = await room.post(victim)
    await room.hear(victim, "ask:p1:1")
    before = room.processes()
    router, supervisor = room.pid("router-0"), room.pid("supervisor")
    servers = [process for process in before if process.name() in ("raylet", "gcs_server")]
    assert len(servers) == 2
    for process in before:
        if process.pid == supervisor if victim == "supervisor" else process.name() == victim:
            process.kill()
    assert (await room.client.session(victim))["status"] == "active"  # reads go on
    events = await room.ended(victim, turn, within=READY_WITHIN)
    assert events[-1].type == "turn.completed"
    await room.back("router-0", router)
    # Nothing of the Ray that died is left beside the one that came.
    now = room.processes()
    parts = [process for process in now if process.name() in ("raylet", "gcs_server")]
    assert len(parts) == 2
    assert not {router, *(each.pid for each in servers)} & {each.pid for each in now}


@pytest.mark.parametrize("victim", ["parent", "group", "everything"])
async def test_the_room_killed_mid_turn_and_started_again(room: LiveRoom, victim: str) -> None:
    await room.create(victim, "rehearsal/steady", "brisk/steady", routing_pattern="voting")
    turn = await room.post(victim)
    waiting = await room.post(victim, "And then?")
    await room.hear(victim, "ask:p1:1")
    processes = room.processes()
    assert len(processes) > 8
    assert room.process
    if victim == "parent":
        room.process.kill()
    elif victim == "group":
        os.killpg(room.process.pid, signal.SIGKILL)
    else:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # some end with those before them
                process.kill()
    await room.ended_by(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=20)  # the watchdog too
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    committed = await committed_and_not_sent(room, f"{victim}-committed")
    await room.start()
    assert (await room.ended(committed, "t1"))[-1].type == "turn.completed"
    await room.ended(victim, turn)
    events = await room.ended(victim, waiting)
    assert [e.turn for e in events if e.type == "turn.completed"] == [turn, waiting]


async def committed_and_not_sent(room: LiveRoom, session: str) -> str:
    """Leave a session behind as a router does that dies when a turn's steps are committed."""
    seats = [{"id": id, "provider": "brisk", "model_name": "steady"} for id in ("a", "b")]
    config = SessionConfig.model_validate({"session_id": session, "models": seats})
    left = Driven(config)
    left.at = now()
    left.post()
    assert left.waiting == ("ask:a:1", "ask:b:1")
    url = f"sqlite:///{room.home / 'room.db'}"
    blobs, store = open_blobs(url), open_store(url)
    for content in left.blobs.contents.values():
        blobs.put(content, "application/json")
    await store.append(session, 0, left.log)
    await store.close()
    blobs.close()
    room.acknowledged[session].append("t1")
    return session


async def test_nothing_was_lost_in_all_of_this(room: LiveRoom, tmp_path: Path) -> None:
    assert await room.stop() == [
        "Stopping the room ...",
        "The room has stopped. What was said in it is kept.",
    ]
    assert await room.check(tmp_path) > 100
    for log in (room.home / "logs").iterdir():
        assert "Traceback" not in log.read_text(), log.name
