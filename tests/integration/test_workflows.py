"""Workflows on a whole room: their calls land in its log, and they replay from it alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.rerunning import rerun
from events.runs import RunAsked, RunRestarted
from events.types import ModelAnswered
from tests.rooms import LocalRoom, config, local_room

CHAIN: dict[str, Any] = {
    "chain_type": "sequential",
    "steps": [
        {"model_id": "a", "prompt_template": "Plan {topic}.", "output_key": "plan"},
        {"model_id": "b", "prompt_template": "Review: {plan}"},
    ],
    "input_variables": ["topic"],
}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path) as room:
        yield room


def workflow(id: str, chain: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A session that runs it on two models."""
    runs = {"framework": "langchain", "config": chain or CHAIN}
    return config(id, "a b", routing_pattern="workflow", workflow=runs, **changes)


async def ran(room: LocalRoom, id: str, chain: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await room.http.post("/v1/sessions", json=workflow(id, chain))
    assert answer.status_code in (200, 201), answer.text
    return await room.post(id, '{"topic": "owls"}', wait=60)


async def test_a_chain_runs_on_the_rooms_models_and_replays_with_all_of_them_stopped(
    room: LocalRoom,
) -> None:
    turn = await ran(room, "chain")
    assert turn["status"] == "completed", turn
    events = await room.store.read("chain")
    asked = [(event.step, event.data) for event in events if isinstance(event.data, RunAsked)]
    answers = [event.data for event in events if isinstance(event.data, ModelAnswered)]
    assert [step for step, _ in asked] == ["ask:a:1", "ask:b:1"]
    assert turn["answer"] == answers[-1].text
    given = orjson.loads(room.blobs.get(asked[1][1].given))
    assert str(answers[0].text) in given[-1]["content"]

    identical = await room.http.post("/v1/sessions/chain/replay")
    assert identical.json()["identical"] is True, identical.text

    await room.stop_router()
    await room.models.stop()
    report = await rerun(room.served.doors, "chain", "t1")
    assert report.identical, report
    assert report.calls == 2
    assert await room.store.read("chain") == events


MAPPED: dict[str, Any] = {
    "chain_type": "map_reduce",
    "max_concurrency": 4,
    "steps": [
        {"model_id": "a", "prompt_template": "Name an owl.", "output_key": "one"},
        {"model_id": "a", "prompt_template": "Name an owl.", "output_key": "two"},
        {"model_id": "a", "prompt_template": "Name an owl.", "output_key": "three"},
        {"model_id": "b", "prompt_template": "Join: {one} {two} {three}"},
    ],
}


async def test_identical_calls_at_the_same_time_replay(room: LocalRoom) -> None:
    turn = await ran(room, "mapped", MAPPED)
    assert turn["status"] == "completed", turn
    for _ in range(3):
        report = await rerun(room.served.doors, "mapped", "t1")
        assert report.identical, report
        assert report.calls == 4


async def test_a_divergence_is_told_where_it_happens(room: LocalRoom) -> None:
    await ran(room, "changed")
    changed = {**CHAIN, "steps": [CHAIN["steps"][0], {**CHAIN["steps"][1], "temperature": 0.5}]}
    runs = {"framework": "langchain", "config": changed}
    state = (await room.served.doors.states.get("changed")).turns["t1"]
    assert state.config
    assert state.config.workflow
    state.config = state.config.model_copy(
        update={"workflow": state.config.workflow.model_validate(runs)}
    )
    report = await rerun(room.served.doors, "changed", "t1")
    assert not report.identical
    assert report.divergence
    assert "b is asked, with a request that the log does not have" in report.divergence.message
    assert report.divergence.calls_left == ("b is asked",)


async def test_a_run_that_was_broken_off_asks_nothing_twice(room: LocalRoom) -> None:
    made = workflow("broken")
    made["models"][1]["model_name"] = "slow"
    assert (await room.http.post("/v1/sessions", json=made)).status_code in (200, 201)
    async with room.following("broken") as watcher:
        await room.post("broken", '{"topic": "owls"}')
        await watcher.until("model.answered")
        await watcher.until("model.asked")
        await room.stop_workflows()
        await watcher.until("run.restarted", within=30)
        await watcher.until("turn.completed", within=60)
    events = await room.store.read("broken")
    assert sum(isinstance(event.data, RunRestarted) for event in events) == 1
    assert sum(isinstance(event.data, RunAsked) for event in events) == 2
    assert sum(isinstance(event.data, ModelAnswered) for event in events) == 2
    report = await rerun(room.served.doors, "broken", "t1")
    assert report.identical, report


async def test_a_run_goes_on_where_its_router_was_away(room: LocalRoom) -> None:
    made = workflow("away")
    made["models"][0]["model_name"] = "slow"
    assert (await room.http.post("/v1/sessions", json=made)).status_code in (200, 201)
    async with room.following("away") as watcher:
        await room.post("away", '{"topic": "owls"}')
        await watcher.until("model.asked")
        await room.stop_router()
        stopped = await room.store.head("away")
        await room.start_router()
        await watcher.until("turn.completed", within=60)
    events = await room.store.read("away")
    assert stopped is not None
    assert stopped.position < len(events)
    assert not [event for event in events if isinstance(event.data, RunRestarted)]
    assert sum(isinstance(event.data, RunAsked) for event in events) == 2
    report = await rerun(room.served.doors, "away", "t1")
    assert report.identical, report


async def test_cancelling_a_run_ends_it_and_its_calls(room: LocalRoom) -> None:
    made = workflow("cancelled")
    made["models"][0]["model_name"] = "slow"
    assert (await room.http.post("/v1/sessions", json=made)).status_code in (200, 201)
    async with room.following("cancelled") as watcher:
        await room.post("cancelled", '{"topic": "owls"}')
        await watcher.until("model.asked")
        answer = await room.http.post("/v1/sessions/cancelled/turns/t1/cancel")
        assert answer.status_code == 200
        await watcher.until("turn.cancelled")
        await watcher.until("run.cancelled")
        await watcher.until("model.cancelled")
    assert (await room.post("cancelled", '{"topic": "mice"}'))["turn"] == "t2"
    assert (await room.http.post("/v1/sessions/cancelled/turns/t2/cancel")).status_code == 200
