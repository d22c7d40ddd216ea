"""Five participants on a real model server, over real NATS and Ray, under all four routers.

Everything is replayed afterwards with the model server stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.client import RoomClient
from tests.servers.llama import LlamaServer
from tests.servers.ports import candidate_ports

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"ada": "architect", "ben": "coder", "cyd": "reviewer", "dan": "tester", "eve": "critic"}


def session(pattern: str) -> dict[str, Any]:
    seats = [
        {
            "id": id,
            "provider": "local",
            "model_name": "tiny",
            "role": role,
            "max_tokens": 600,
            "temperature": 0.5,
            "seed": seed,
        }
        for seed, (id, role) in enumerate(ROLES.items())
    ]
    chosen = {"coordinator": "ada"} if pattern == "coordinator" else {}
    return {"session_id": pattern, "routing_pattern": pattern, "models": seats, **chosen}


@asynccontextmanager
async def served(home: Path, base_url: str) -> AsyncIterator[RoomClient]:
    """A room as `make run` starts it, with one provider at `base_url`."""
    home.mkdir()
    provider = {"id": "local", "type": "openai", "config": {"base_url": base_url}}
    (home / "providers.json").write_text(json.dumps({"providers": [provider]}))
    port = next(candidate_ports())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", "serve", "--no-demo"),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CONTROL_ROOM_HOME": str(home),
            "CONTROL_ROOM_PORT": str(port),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    said: list[str] = []

    async def until_ready() -> None:
        assert process.stdout
        async for line in process.stdout:
            said.append(line.decode())
            if line.startswith(b"Ready"):
                return
        pytest.fail(f"the room ended: {''.join(said)}")

    try:
        await asyncio.wait_for(until_ready(), 100)
        async with RoomClient(f"http://127.0.0.1:{port}") as room:
            yield room
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, rest.decode()


async def test_all_routers_on_llama_cpp_and_replay_without_it(
    tmp_path: Path, own_llama_server: LlamaServer
) -> None:
    server = own_llama_server
    async with served(tmp_path / "home", server.base_url) as room:
        for pattern in ("broadcast", "coordinator", "round_robin", "voting"):
            await room.create_session(session(pattern))
        broadcast = await room.post_turn("broadcast", "What is a river?", wait=100)
        assert broadcast["status"] == "completed", broadcast
        assert {answer["participant"] for answer in broadcast["answers"]} == set(ROLES)
        for answer in broadcast["answers"]:
            assert answer["text"].strip()
            assert answer["served_model"] == "tiny"
            assert answer["usage"]["input"] + answer["usage"]["cache_read"] > 0
            assert answer["usage"]["output"] > 0
            assert answer["usage"]["estimated"] is False

        plan = await room.post_turn("coordinator", "Who knows about rivers?", wait=100)
        assert plan["status"] == "completed", plan
        assert [one["type"] for one in plan["decisions"]] == ["route.decided"]

        first = await room.post_turn("round_robin", "Begin a story.", wait=100)
        second = await room.post_turn("round_robin", "Go on.", wait=100)
        speakers = [turn["answers"][0]["participant"] for turn in (first, second)]
        assert speakers == ["ada", "ben"]
        assert first["answer"] == first["answers"][0]["text"]

        vote = await room.post_turn("voting", "Say something wise.", wait=100)
        assert vote["status"] == "completed", vote
        kinds = [one["type"] for one in vote["decisions"]]
        assert kinds == ["vote.cast"] * len(ROLES) + ["votes.tallied"]
        assert vote["answer"] in [answer["text"] for answer in vote["answers"]]

        server.stop()
        for pattern in ("broadcast", "coordinator", "round_robin", "voting"):
            replay = await room.replay(pattern)
            assert replay["identical"] is True, replay
            assert replay["events"] == len([event async for event in room.all_events(pattern)])
        failed = await room.post_turn("round_robin", "Is anybody there?", wait=100)
        assert failed["status"] == "failed"
        assert {one["error"] for one in failed["failures"]} == {"ProviderUnavailable"}
