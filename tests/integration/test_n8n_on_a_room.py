"""A workflow on an n8n server, run by a room: what is done there is done once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.rooms import LocalRoom, local_room
from tests.servers.n8n import n8n_server

pytestmark = pytest.mark.integration


async def run(room: LocalRoom, id: str, models: str = "architect", **config: Any) -> dict[str, Any]:
    """A run of that workflow, when it has ended."""
    body = {
        "run_id": id,
        "framework": {"type": "n8n", "config": config},
        "models": dict.fromkeys(models.split(), "paced/instant"),
        "inputs": {"topic": "owls"},
    }
    answer = await room.http.post("/v1/runs?wait=20", json=body, timeout=40)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def test_a_run_is_not_replayed_as_that_would_start_its_workflow_again(
    tmp_path: Path,
) -> None:
    async with local_room(tmp_path) as room, n8n_server() as n8n:
        ended = await run(room, "r1", "architect critic", webhook_url=f"{n8n.url}/webhook/whole")
        assert ended["status"] == "completed"
        refused = await room.http.post("/v1/runs/r1/replay")
        assert refused.status_code == 409
        assert "would start the workflow on its server again" in refused.json()["detail"]
        assert len(n8n.sent) == 1
        kept = await room.http.post("/v1/sessions/r1/replay")
        assert kept.json()["identical"] is True


async def test_a_run_that_is_broken_off_is_not_begun_again(tmp_path: Path) -> None:
    async with local_room(tmp_path) as room, n8n_server() as n8n:
        begun, held = asyncio.Event(), asyncio.Event()

        async def hold(body: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            await held.wait()
            return body

        n8n.answering_at_end["held"] = hold
        running = asyncio.create_task(run(room, "r1", webhook_url=f"{n8n.url}/webhook/held"))
        await asyncio.wait_for(begun.wait(), 20)
        await room.stop_workflows()
        ended = await running
        assert ended["status"] == "failed"
        assert "is not begun again" in str(ended["problem"])
        kinds = [event.type for event in await room.store.read("r1")]
        assert "run.restarted" not in kinds
        assert "run.failed" in kinds
        assert len(n8n.sent) == 1
