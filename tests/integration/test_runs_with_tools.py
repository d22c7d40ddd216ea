"""Runs that call tools, a person allowing each call: over HTTP, and from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.tools.config import ToolServers
from tests.commands import environment, run, start
from tests.integration.tool_calls import stubborn
from tests.rooms import LocalRoom, local_room
from tests.terminal import terminal
from tests.waiting import eventually

ASKING = {
    "mode": "framework",
    "framework": {
        "type": "langchain",
        "config": {
            "chain_type": "agent",
            "model_id": "a",
            "prompt_template": 'use stubborn__echo {"message": "{topic}"}',
            "tools": ["mcp:stubborn"],
        },
    },
    "models": {"a": "paced/instant"},
    "tools": [{"server": "stubborn", "tools": ["echo"], "approval": True}],
    "inputs": {"topic": "owls"},
}


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    for name in ("langchain_steps", "tool_door"):  # or they hold up the room's only loop
        import_module(f"actors.frameworks.{name}")
    async with local_room(tmp_path, tool_servers=ToolServers(stubborn(tmp_path))) as room:
        yield room


async def waiting(room: LocalRoom, id: str) -> dict[str, Any]:
    """The run, as soon as it waits for a person."""

    async def probe() -> dict[str, Any]:
        view: dict[str, Any] = (await room.http.get(f"/v1/runs/{id}")).json()
        assert view["status"] == "waiting for a person", view
        return view

    found: dict[str, Any] = await eventually(probe, within=60, what="it waits for a person")
    return found


async def test_a_run_waits_for_a_person_and_goes_on(room: LocalRoom) -> None:
    answer = await room.http.post("/v1/runs", json={**ASKING, "run_id": "asking"}, timeout=60)
    assert answer.status_code == 202, answer.text
    view = await waiting(room, "asking")
    step = view["steps"][-1]
    assert (step["kind"], step["name"], step["server"]) == ("tool", "stubborn__echo", "stubborn")
    assert step["arguments"] == '{"message":"owls"}'
    assert [call["name"] for call in view["steps"][0]["tool_calls"]] == ["stubborn__echo"]
    listed = (await room.http.get("/v1/runs")).json()["runs"]
    assert [one["status"] for one in listed] == ["waiting for a person"]

    told = await run(room, "approvals", "asking")
    assert "the workflow wants to call stubborn__echo" in told.out
    done = await run(room, "approve", "asking")
    assert done.code == 0, done.err
    async with room.following("asking") as watcher:
        await watcher.until("turn.completed", within=60)
    view = (await room.http.get("/v1/runs/asking")).json()
    assert [(one["kind"], one["status"]) for one in view["steps"]] == [
        ("model", "answered"),
        ("tool", "returned"),
        ("model", "answered"),
    ]
    assert view["steps"][1]["text"] == "owls"
    report = await room.http.post("/v1/runs/asking/replay", timeout=60)
    assert report.json() == {"identical": True, "calls": 3, "divergence": None}


async def test_the_command_line_says_what_waits_and_shows_what_was_denied(
    room: LocalRoom, tmp_path: Path
) -> None:
    file = tmp_path / "asking.yaml"
    file.write_text(yaml.safe_dump(ASKING))
    process = await start(room, "run", str(file))
    assert process.stderr
    async with asyncio.timeout(60):
        id = (await process.stderr.readline()).decode().split()[1]
        while b"waits for a person" not in (line := await process.stderr.readline()):
            assert line
        told = (await process.stderr.readline()).decode()
    assert told.strip() == f"decide by 'control-room approve {id}'"
    assert (await run(room, "deny", id, "--reason", "not today")).code == 0
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert b"not today" in out
    shown = await run(room, "runs", "show", id)
    assert 'stubborn__echo({"message":"owls"}): denied' in shown.out


async def test_a_person_at_a_terminal_is_asked_there(room: LocalRoom, tmp_path: Path) -> None:
    file = tmp_path / "asking.yaml"
    file.write_text(yaml.safe_dump(ASKING))
    command = ("-m", "api.cli", "run", str(file))
    async with terminal(*command, environment=environment(room)) as shown:
        id = (await shown.expect(r"run (run_\w+)")).group(1)
        await shown.expect(r"stubborn__echo\(.*\) waits for a person")
        await shown.expect("Allow this call")
        assert "control-room approve" not in shown.text
        shown.type("y\r")
        await shown.expect("stubborn__echo: owls")
        assert await shown.ended(60) == 0
    view = (await room.http.get(f"/v1/runs/{id}")).json()
    assert view["status"] == "completed"
