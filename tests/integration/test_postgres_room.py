"""A room whose log is in PostgreSQL, and what becomes of a turn when PostgreSQL is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import SecretStr

from tests.rooms import local_room
from tests.servers.postgres import PostgresServer
from tests.waiting import eventually


async def test_a_turn_outlives_the_database(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    async with local_room(tmp_path, store=SecretStr(postgres_server.url())) as room:
        await room.create("pg", "a b:steady c", routing_pattern="voting")
        first = await room.post("pg", wait=60)
        assert first["status"] == "completed"

        turn = (await room.post("pg", "And now without a database?"))["turn"]
        postgres_server.kill()
        postgres_server.restart()

        async def ended() -> bool:
            answer = await room.http.get(f"/v1/sessions/pg/turns/{turn}")
            return answer.is_success and answer.json()["status"] == "completed"

        await eventually(ended, within=90, what="the end of the turn")
        replay = (await room.http.post("/v1/sessions/pg/replay")).json()
        assert replay["identical"] is True
        assert [fault async for fault in room.store.verify()] == []
        events = await asyncio.wait_for(room.store.read("pg"), 20)
        answered = [event.step for event in events if event.type == "model.answered"]
        assert len(answered) == 2 * 2 * 3
