"""With a part of the room away, what can work does, and the rest says so."""

from __future__ import annotations

import asyncio

from tests.rooms import LocalRoom


async def test_without_a_router_reading_works_and_posting_waits_its_turn(room: LocalRoom) -> None:
    session = await room.create("s1", "a")
    await room.post(session, wait=20)
    await room.stop_router()
    path = f"/v1/sessions/{session}"
    answer = await room.http.post(f"{path}/turns", json={"content": "Anyone?"})
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert "; this may or may not take effect: send the same" in answer.json()["detail"]
    key = answer.headers["idempotency-key"]
    for read in (path, f"{path}/events", f"{path}/transcript", f"{path}/turns/t1", "/v1/sessions"):
        assert (await room.http.get(read)).status_code == 200, read
    assert (await room.http.post(f"{path}/replay")).json()["identical"]
    ready = await room.http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["missing"] == ["no router answers for partitions 0-63"]
    assert (await room.http.get("/healthz")).status_code == 200
    await room.start_router()
    for _ in range(2):
        again = await room.http.post(
            f"{path}/turns",
            json={"content": "Anyone?"},
            headers={"Idempotency-Key": key},
            params={"wait": 20},
        )
        assert again.json()["turn"] == "t2"
    assert (await room.http.get("/readyz")).status_code == 200


async def test_a_post_outlasts_a_router_that_comes_back(room: LocalRoom) -> None:
    session = await room.create("s1", "a")
    await room.stop_router()
    posting = asyncio.create_task(room.post(session, wait=20))
    creating = asyncio.create_task(room.create("s2", "a"))
    await room.start_router()
    turn = await posting
    assert turn["status"] == "completed", turn
    assert await creating == "s2"


async def test_a_turn_goes_on_with_a_new_router_and_its_waiter_is_told(room: LocalRoom) -> None:
    session = await room.create("s1", "a:steady b:steady")
    waiting = asyncio.create_task(room.post(session, wait=30))
    async with room.following(session) as watcher:
        while not watcher.deltas:
            await watcher.next()
        await room.stop_router()
        await room.start_router()
        await watcher.until("turn.completed")
    turn = await waiting
    assert turn["status"] == "completed"
    assert [answer["participant"] for answer in turn["answers"]] == ["a", "b"]
    assert watcher.positions == list(range(1, 8))


async def test_without_nats_reading_works(room: LocalRoom) -> None:
    session = await room.create("s1", "a")
    await room.post(session, wait=20)
    await room.nats.stop()
    for read in ("", "/events", "/transcript", "/turns/t1"):
        assert (await room.http.get(f"/v1/sessions/{session}{read}")).status_code == 200
    answer = await room.http.post(f"/v1/sessions/{session}/turns", json={"content": "Hello?"})
    assert answer.status_code == 503
    ready = await room.http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["missing"] == ["no connection to NATS"]
    await room.nats.start()
    assert (await room.post(session, "Hello!", wait=20))["status"] == "completed"
