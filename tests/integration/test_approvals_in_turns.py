"""Approvals and questions in a running room: the clock of a turn, pauses, and a new router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from actors.tools.config import ToolServers
from tests.integration.tool_calls import stubborn
from tests.rooms import LocalRoom, Watcher, local_room
from tests.sound_log import assert_sound
from tests.waiting import eventually


@asynccontextmanager
async def waiting(
    folder: Path, tool: str, *, approval: bool = True, **changes: Any
) -> AsyncIterator[tuple[LocalRoom, Watcher]]:
    """A room in which one was just asked to use the tool; its log is sound in the end."""
    grant = {"server": "stubborn", "tools": [tool], "approval": approval}
    seat = {"id": "a", "provider": "paced", "model_name": "instant", "tools": [grant]}
    async with local_room(folder, tool_servers=ToolServers(stubborn(folder))) as room:
        await room.create("s1", models=[seat], **changes)
        async with room.following("s1") as watcher:
            await room.post("s1", f"Please use stubborn {tool}.")
            yield room, watcher
        await assert_sound(room.store, room.blobs, {})


async def decide(room: LocalRoom, step: str, what: str = "approve", **body: Any) -> None:
    answer = await room.http.post(f"/v1/sessions/s1/turns/t1/steps/{step}/{what}", json=body)
    assert answer.status_code == 200, answer.text


async def test_the_deadline_waits_for_the_person_and_not_for_the_tool(tmp_path: Path) -> None:
    deadline, patience = 5.0, 3.0
    loop = asyncio.get_running_loop()
    async with waiting(tmp_path, "hang", deadline=deadline) as (room, watcher):
        requested = await watcher.until("approval.requested")
        decided_at = loop.time() + patience
        await eventually(lambda: loop.time() > decided_at, within=20, what="the person")
        await decide(room, requested["data"]["step"])
        failed = await watcher.until("turn.failed")
        assert failed["data"]["payload"]["reason"] == "deadline"
        kinds = [event["event"]["type"] for event in watcher.events]
        assert kinds[-4:] == ["tool.called", "timer.fired", "tool.cancelled", "turn.failed"]
        times = {
            event["event"]["type"]: datetime.fromisoformat(event["event"]["time"])
            for event in watcher.events
        }
        whole = (times["timer.fired"] - times["turn.started"]).total_seconds()
        assert whole > deadline + 0.9 * patience


async def test_a_decision_is_kept_in_a_pause_and_by_the_next_router(tmp_path: Path) -> None:
    async with waiting(tmp_path, "echo", deadline=60) as (room, watcher):
        step = (await watcher.until("approval.requested"))["data"]["step"]
        await room.stop_router()
        await room.start_router()
        assert (await room.http.post("/v1/sessions/s1/pause")).status_code == 200
        await decide(room, step, reason="go")
        await room.stop_router()
        await room.start_router()
        view = (await room.http.get("/v1/sessions/s1/approvals")).json()
        assert view["approvals"] == []
        assert (await room.http.post("/v1/sessions/s1/resume")).status_code == 200
        await watcher.until("turn.completed")
        kinds = [event["event"]["type"] for event in watcher.events]
        assert kinds[-7:] == [
            "approval.granted",
            "session.resumed",
            "tool.called",
            "tool.returned",
            "model.asked",
            "model.answered",
            "turn.completed",
        ]
    assert (tmp_path / "called").read_text().split() == ["echo"]


async def test_what_a_person_answers_reaches_the_tool(tmp_path: Path) -> None:
    async with waiting(tmp_path, "asks", approval=False) as (room, watcher):
        asked = await watcher.until("elicitation.requested")
        (question,) = (await room.http.get("/v1/sessions/s1/approvals")).json()["questions"]
        assert question["question"] == asked["data"]["payload"]["id"]
        assert question["message"] == "Which colour?"
        content = {"colour": "ultramarine"}
        await decide(room, question["step"], "answer", action="accept", content=content)
        returned = await watcher.until("tool.returned")
        assert "ultramarine" in str(returned["data"]["payload"]["text"])
        await watcher.until("turn.completed")
