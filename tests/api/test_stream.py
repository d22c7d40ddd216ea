"""The WebSocket: events in order, pieces between them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.rooms import LocalRoom, Watcher


async def test_events_and_pieces_come_as_they_happen(shared: LocalRoom) -> None:
    session = await shared.create("watched", "a:steady b:steady")
    async with shared.following(session) as watcher:
        await shared.post(session, "Tell me")
        await watcher.until("turn.completed")
    assert watcher.positions == list(range(1, 8))
    answers = {
        event["event"]["data"]["step"]: event["event"]["data"]["payload"]["text"]
        for event in watcher.events
        if event["event"]["type"] == "model.answered"
    }
    assert set(answers) == {"ask:a:1", "ask:b:1"}
    for step, answer in answers.items():
        text = watcher.text(step)
        assert answer.startswith(text)
        assert len(text) > len(answer) / 2
    first = watcher.deltas[0]
    assert first["type"] == "delta"
    assert (first["turn"], first["attempt"], first["channel"]) == ("t1", 1, "text")
    assert first["participant"] == first["step"].split(":")[1]


async def test_pieces_come_between_the_question_and_the_answer(shared: LocalRoom) -> None:
    session = await shared.create("between", "a:steady b:steady c:instant")
    order: list[tuple[str, str]] = []
    async with shared.following(session) as watcher:
        await shared.post(session)
        while True:
            message = await watcher.next()
            if message["type"] == "delta":
                order.append(("delta", message["step"]))
            else:
                event = message["event"]
                order.append((event["type"], event["data"]["step"] or ""))
                if event["type"] == "turn.completed":
                    break
    for step in ("ask:a:1", "ask:b:1", "ask:c:1"):
        own = [kind for kind, of in order if of == step]
        assert own[0] == "model.asked"
        assert own[-1] == "model.answered"
        assert set(own[1:-1]) <= {"delta"}


async def test_who_comes_later_gets_open_answers_from_their_beginning(shared: LocalRoom) -> None:
    session = await shared.create("later", "a:steady b:steady")
    async with shared.following(session) as first:
        await shared.post(session)
        while len(first.deltas) < 10:
            await first.next()
        cursor = first.positions[-1]
        async with shared.following(session, cursor) as second:
            await asyncio.gather(first.until("turn.completed"), second.until("turn.completed"))
    assert second.positions == list(range(cursor + 1, 8))
    for step in ("ask:a:1", "ask:b:1"):
        assert second.text(step).startswith(first.text(step)[:5])
        assert second.text(step)
    assert len(second.deltas) >= 2


async def test_another_process_gives_open_answers_from_their_beginning(room: LocalRoom) -> None:
    """What a fresh API knows of an open answer it has from the DELTAS stream alone."""
    session = await room.create("moved", "a:slow b:slow")
    async with room.following(session) as first:
        await room.post(session)
        while len(first.deltas) < 8:
            await first.next()
    async with room.second_api() as other, other.following(session, 4) as second:
        while len(second.deltas) < 14:
            await second.next()
    for step in ("ask:a:1", "ask:b:1"):
        assert second.text(step).startswith(first.text(step))
    await room.http.post(f"/v1/sessions/{session}/close")


async def test_several_objects_may_share_a_frame(shared: LocalRoom) -> None:
    session = await shared.create("lines", "a b c")
    await shared.post(session, wait=20)
    url = shared.stream_url(session, 0, lines="true")
    async with connect(url, compression=None, proxy=None) as socket:
        frame = str(await socket.recv())
    messages = [json.loads(line) for line in frame.splitlines()]
    assert [message["position"] for message in messages] == list(range(1, 10))


async def test_all_watchers_are_shown_the_same(shared: LocalRoom) -> None:
    session = await shared.create("crowd", "a b")

    async def watch(after: int) -> Watcher:
        async with shared.following(session, after) as watcher:
            await watcher.until("turn.completed", turn="t2")
            return watcher

    watching = [asyncio.create_task(watch(after)) for after in (0, 0, 1, 1)]
    await shared.post(session, wait=20)
    await shared.post(session, wait=20)
    watchers = await asyncio.gather(*watching)
    assert watchers[0].events == watchers[1].events
    assert watchers[2].events == watchers[3].events == watchers[0].events[1:]


@pytest.mark.parametrize(
    ("session", "after", "code", "reason"),
    [
        ("nowhere", "0", 4404, "no session 'nowhere'"),
        ("a%3E.*%0A", "0", 4404, "no session"),
        ("%F0%9F%98%80", "0", 4404, "no session"),
        ("x" * 3000, "0", 4404, "no session"),
        ("cursors", "2", 4422, "beyond the last event, which is 1"),
        ("cursors", "-1", 4422, "not a whole number"),
        ("cursors", "abc", 4422, "not a whole number"),
        ("cursors", "9" * 25, 4422, "not a whole number"),
        ("cursors", "%C2%B2", 4422, "not a whole number"),
    ],
)
async def test_what_cannot_be_followed_is_closed_with_a_reason(
    shared: LocalRoom, session: str, after: str, code: int, reason: str
) -> None:
    await shared.create("cursors", "a")
    async with connect(shared.stream_url(session, after), proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert reason in closed.value.rcvd.reason


async def test_what_a_client_says_is_not_listened_to(shared: LocalRoom) -> None:
    session = await shared.create("talking", "a")
    async with shared.following(session) as watcher:
        for said in ("{", json.dumps({"type": "event"}), b"\xff\x00"):
            await watcher.socket.send(said)
        await shared.post(session)
        await watcher.until("turn.completed")
    assert watcher.positions == list(range(1, 6))


async def test_a_stream_outlives_a_restarted_nats(room: LocalRoom) -> None:
    session = await room.create("outlived", "a")
    async with room.following(session) as watcher:
        await watcher.until("session.created")
        await room.nats.restart()
        turn: dict[str, Any] = await room.post(session, wait=20)
        assert turn["status"] == "completed"
        await watcher.until("turn.completed")
    # A question that was lost with the server is asked again, which is an event more.
    assert watcher.positions == list(range(1, watcher.positions[-1] + 1))
