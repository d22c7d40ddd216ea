"""Real frameworks on a real room: two agents and a tool server, in one log, and again from it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.frameworks.execution import PACKAGES, Reply, Request
from actors.providers.config import ProviderSpec
from actors.tools.config import ToolServers, ToolServerSpec
from actors.workflow import WorkflowActor
from api.rerunning import rerun
from events.runs import RunAsked, RunCompleted
from events.tools import ToolCalled, ToolReturned
from events.types import ModelAnswered
from tests.frameworks import in_process
from tests.rooms import LocalRoom, config, local_room
from tests.servers import mcp_words
from tests.servers.llama import LlamaServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

USE = 'use words__shout {"text": "owls at night"}'
WORKFLOWS: dict[str, dict[str, Any]] = {
    "langchain": {
        "chain_type": "sequential",
        "steps": [
            {
                "model_id": "a",
                "prompt_template": f"Research {{topic}}: {USE}",
                "tools": ["mcp:words"],
                "output_key": "notes",
            },
            {"model_id": "b", "prompt_template": "Write about {topic}: {notes}"},
        ],
        "input_variables": ["topic"],
    },
    "agent_framework": {
        "agents": [
            {
                "model_id": "a",
                "name": "researcher",
                "instructions": "You research.",
                "tools": ["words:shout"],
            },
            {"model_id": "b", "name": "writer", "instructions": "You write."},
        ],
        "task": f"Write about {{{{topic}}}}: {USE}",
    },
    "crewai": {
        "agents": [
            {"model_id": "a", "role": "Researcher", "tools": ["mcp:words"]},
            {"model_id": "b", "role": "Writer"},
        ],
        "tasks": [
            {"description": f"Research {{{{topic}}}}: {USE}", "agent_index": 0},
            {"description": "Write about {{topic}}.", "agent_index": 1},
        ],
    },
}


class Apart:
    """Runs workflows in processes of their own, and sees whom they contact."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.contacted: list[str] = []
        self.runs = 0

    async def __call__(self, request: Request) -> Reply:
        self.runs += 1
        home = self.home / str(self.runs)
        told = await in_process(request["framework"], dict(request), home, 200)
        self.contacted += told.pop("contacted")
        assert told.pop("written") == []
        return told  # type: ignore[return-value]  # it is one, as JSON has it


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    spec = ToolServerSpec(name="words", command=sys.executable, args=(mcp_words.__file__,))
    async with local_room(tmp_path / "room", tool_servers=ToolServers(spec)) as room:
        yield room


async def ran(room: LocalRoom, run: Apart, framework: str, session: dict[str, Any]) -> list[Any]:
    """What the log holds of the session's one run, which has ended."""
    actor = WorkflowActor(room.models_bus, room.blobs, framework, run, url=room.url)
    room.workflows[framework] = actor
    await actor.start()
    made = await room.http.post("/v1/sessions", json=session)
    assert made.status_code == 201, made.text
    async with room.following("s1") as watcher:
        await room.post("s1", '{"topic": "owls"}')
        async with asyncio.timeout(200):
            while (await watcher.next()).get("event", {}).get("type", "") not in (
                "turn.completed",
                "turn.failed",
            ):
                continue
    events = [event.data for event in await room.store.read("s1")]
    ends = [one for one in events if isinstance(one, RunCompleted)]
    assert ends, events[-3:]
    assert set(ends[0].versions) == set(PACKAGES[framework])
    return events


async def runs_again(room: LocalRoom, run: Apart, calls: int) -> None:
    """Check that the run gives the same once more, with the log alone."""
    events = await room.store.read("s1")
    assert (await room.http.post("/v1/sessions/s1/replay")).json()["identical"] is True
    await room.stop_router()
    await room.models.stop()
    await room.stop_tools()
    report = await rerun(room.served.doors, "s1", "t1")
    assert report.identical, report
    assert report.calls == calls
    assert run.runs == 2
    assert set(run.contacted) == {"127.0.0.1"}
    assert await room.store.read("s1") == events


@pytest.mark.parametrize("framework", WORKFLOWS)
async def test_two_agents_and_a_tool_run_and_replay_with_everything_else_stopped(
    room: LocalRoom, framework: str, tmp_path: Path
) -> None:
    run = Apart(tmp_path)
    workflow = {"framework": framework, "config": WORKFLOWS[framework], "tools": ["words"]}
    session = config("s1", "a b", routing_pattern="workflow", workflow=workflow)
    events = await ran(room, run, framework, session)
    assert [one.use.name for one in events if isinstance(one, ToolCalled)] == ["words__shout"]
    assert [one.text for one in events if isinstance(one, ToolReturned)] == ["OWLS AT NIGHT"]
    asked = [one.participant for one in events if isinstance(one, RunAsked)]
    assert asked == ["a", "a", "b"]
    await runs_again(room, run, calls=4)


TALKING: dict[str, dict[str, Any]] = {
    "langchain": {
        "chain_type": "sequential",
        "steps": [
            {"model_id": "a", "prompt_template": "Research {topic}.", "output_key": "notes"},
            {"model_id": "b", "prompt_template": "Write about {topic}: {notes}"},
        ],
        "input_variables": ["topic"],
    },
    "agent_framework": {
        "agents": [
            {"model_id": "a", "name": "researcher", "instructions": "You research."},
            {"model_id": "b", "name": "writer", "instructions": "You write."},
        ],
        "task": "Write about {{topic}}.",
    },
    "crewai": {
        "agents": [
            {"model_id": "a", "role": "Researcher"},
            {"model_id": "b", "role": "Writer"},
        ],
        "tasks": [
            {"description": "Research {{topic}}.", "agent_index": 0},
            {"description": "Write about {{topic}}.", "agent_index": 1},
        ],
    },
}


@pytest.mark.parametrize("framework", TALKING)
async def test_two_agents_on_a_real_model_replay_with_its_server_stopped(
    own_llama_server: LlamaServer, framework: str, tmp_path: Path
) -> None:
    spec = ProviderSpec(id="local", type="openai", config={"base_url": own_llama_server.base_url})
    seat = {"provider": "local", "model_name": "tiny", "max_tokens": 60, "temperature": 0.5}
    workflow = {"framework": framework, "config": TALKING[framework]}
    session = config("s1", "", routing_pattern="workflow", workflow=workflow)
    session["models"] = [{"id": id, "role": id, **seat} for id in ("a", "b")]
    run = Apart(tmp_path)
    async with local_room(tmp_path / "room", spec) as room:
        events = await ran(room, run, framework, session)
        answers = [one for one in events if isinstance(one, ModelAnswered)]
        assert [one.served_model for one in answers] == ["tiny", "tiny"]
        assert all(str(one.text).strip() for one in answers)
        own_llama_server.stop()
        await runs_again(room, run, calls=2)
