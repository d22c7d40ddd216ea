"""Events at the door: page by page, and as they happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.rooms import LocalRoom


class Stream:
    """A client of `text/event-stream`."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event, and its id."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if not line and "data" in fields:
                    return fields["id"], json.loads(fields["data"])
                fields[name] = value
        raise AssertionError("the stream ended")

    async def take(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        return [await self.next() for _ in range(count)]


@asynccontextmanager
async def streaming(
    room: LocalRoom, path: str, last: int | None = None, **query: Any
) -> AsyncIterator[Stream]:
    headers = {"Accept": "text/event-stream"} | (
        {} if last is None else {"Last-Event-ID": str(last)}
    )
    async with room.http.stream("GET", path, params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer.aiter_lines())


async def test_pages_hold_every_event_once(shared: LocalRoom) -> None:
    session = await shared.create("paged", "a b c")
    await shared.post(session, wait=20)
    await shared.post(session, wait=20)
    path, after, seen = f"/v1/sessions/{session}/events", 0, []
    while True:
        page = (await shared.http.get(path, params={"after": after, "limit": 3})).json()
        if not page["events"]:
            break
        seen += page["events"]
        assert page["next"] == page["events"][-1]["data"]["position"]
        after = page["next"]
    assert page["next"] == after
    positions = [event["data"]["position"] for event in seen]
    assert positions == list(range(1, len(positions) + 1))
    assert seen[0]["type"] == "session.created"
    assert [event["type"] for event in seen].count("turn.completed") == 2
    assert {event["specversion"] for event in seen} == {"1.0"}
    assert (await shared.http.get(path, params={"limit": 1000})).json()["events"] == seen


async def test_the_whole_store_has_a_cursor_of_its_own(shared: LocalRoom) -> None:
    before = (await shared.http.get("/v1/events", params={"limit": 1000})).json()["next"]
    for name in ("whole-a", "whole-b"):
        await shared.create(name, "a")
    page = (await shared.http.get("/v1/events", params={"after": before})).json()
    streams = [event["data"]["stream"] for event in page["events"]]
    assert streams == ["whole-a", "whole-b"]
    assert [int(event["sequence"]) for event in page["events"]][-1] == page["next"]
    beyond = await shared.http.get("/v1/events", params={"after": page["next"] + 1})
    assert beyond.status_code == 422
    assert "beyond the last event" in beyond.json()["detail"]


async def test_a_stream_goes_on_as_events_happen(shared: LocalRoom) -> None:
    session = await shared.create("live", "a b")
    async with streaming(shared, f"/v1/sessions/{session}/events") as stream:
        assert (await stream.next())[1]["type"] == "session.created"
        await shared.post(session)
        seen = await stream.take(6)
    assert [int(id) for id, _ in seen] == [2, 3, 4, 5, 6, 7]
    assert seen[-1][1]["type"] == "turn.completed"
    assert all(event["data"]["position"] == int(id) for id, event in seen)


async def test_a_browser_comes_back_with_the_last_id(shared: LocalRoom) -> None:
    session = await shared.create("back", "a b")
    await shared.post(session, wait=20)
    path = f"/v1/sessions/{session}/events"
    async with streaming(shared, path, last=5, after=1) as stream:
        assert [id for id, _ in await stream.take(2)] == ["6", "7"]
    wrong = await shared.http.get(
        path, headers={"Accept": "text/event-stream", "Last-Event-ID": "8"}
    )
    assert wrong.status_code == 422
    assert "beyond the last event, which is 7" in wrong.json()["detail"]


async def test_the_whole_store_is_streamed(shared: LocalRoom) -> None:
    before = (await shared.http.get("/v1/events", params={"limit": 1000})).json()["next"]
    async with streaming(shared, "/v1/events", after=before) as stream:
        await shared.create("streamed-a", "a")
        id, event = await stream.next()
        assert (event["data"]["stream"], event["type"]) == ("streamed-a", "session.created")
        assert int(id) == int(event["sequence"]) > before
        await shared.create("streamed-b", "a")
        assert (await stream.next())[1]["data"]["stream"] == "streamed-b"


@pytest.mark.parametrize("cursor", ["-1", "abc", "1.5", "", "9" * 30, "0x1"])
async def test_a_wrong_cursor_says_what_a_cursor_is(shared: LocalRoom, cursor: str) -> None:
    await shared.create("cursor", "a")
    for path in ("/v1/sessions/cursor/events", "/v1/events"):
        answer = await shared.http.get(path, params={"after": cursor})
        assert answer.status_code == 422
        assert "the position of the last event that you have" in answer.json()["detail"]


async def test_views_are_as_new_as_the_request(shared: LocalRoom) -> None:
    session = await shared.create("views", "a b")
    turn = await shared.post(session, "Say it", wait=20)
    transcript = (await shared.http.get(f"/v1/sessions/{session}/transcript")).json()
    assert transcript["position"] == turn["position"] == 7
    assert [entry["kind"] for entry in transcript["entries"]] == ["message", "answer", "answer"]
    assert transcript["entries"][0]["text"] == "Say it"
    rest = await shared.http.get(
        f"/v1/sessions/{session}/transcript",
        params={"after": transcript["entries"][0]["position"], "limit": 1},
    )
    assert rest.json()["entries"] == transcript["entries"][1:2]
    costs = (await shared.http.get(f"/v1/sessions/{session}/costs")).json()
    assert costs["position"] == 7
    assert costs["total"]["calls"] == 2
    assert {line["name"] for line in costs["by_participant"]} == {"a", "b"}


async def test_a_replay_proves_itself(shared: LocalRoom) -> None:
    session = await shared.create("proof", "a b c", routing_pattern="voting")
    await shared.post(session, wait=30)
    replay = (await shared.http.post(f"/v1/sessions/{session}/replay")).json()
    events = (await shared.http.get(f"/v1/sessions/{session}/events")).json()["events"]
    assert replay["identical"] is True
    assert replay["events"] == len(events)
    assert len(replay["head"]) == 64
    assert (await shared.http.post(f"/v1/sessions/{session}/replay")).json() == replay
