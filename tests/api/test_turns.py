"""Turns at the door."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.doors import Doors
from api.guard import Guard
from api.posting import LONGEST, ShortPost
from events.types import TurnStarted
from events.values import SPILL, Blob
from tests.rooms import LocalRoom
from tests.waiting import eventually


async def test_a_posted_message_is_answered_by_everyone(shared: LocalRoom) -> None:
    session = await shared.create("everyone", "a b c")
    turn = await shared.post(session, "What is a saga?", wait=20)
    assert turn["status"] == "completed"
    assert turn["answer"] is None
    assert [answer["participant"] for answer in turn["answers"]] == ["a", "b", "c"]
    for answer in turn["answers"]:
        assert answer["text"]
        assert answer["model"] == "instant"
        assert answer["usage"]["output"] > 0
        assert answer["cost"]["amount"] == "0"
    looked_up = await shared.http.get(f"/v1/sessions/{session}/turns/{turn['turn']}")
    assert looked_up.json() == turn


async def test_what_is_accepted_is_in_the_log(shared: LocalRoom) -> None:
    session = await shared.create("durable", "a")
    accepted = await shared.http.post(
        f"/v1/sessions/{session}/turns", json={"content": "Remember this"}
    )
    assert accepted.status_code == 202
    body = accepted.json()
    assert body == {"turn": "t1", "position": 2, "status": "open"}
    (event,) = await shared.store.read(session, body["position"] - 1, 1)
    assert isinstance(event.data, TurnStarted)
    assert event.data.message is not None
    assert event.data.message.content == "Remember this"
    assert event.by == "local"


async def test_a_repeated_key_is_the_same_turn(shared: LocalRoom) -> None:
    session = await shared.create("repeated", "a b")
    path, key = f"/v1/sessions/{session}/turns", {"Idempotency-Key": "once-and-for-all"}
    posts = [
        shared.http.post(path, json={"content": "Hello"}, headers=key, params=query)
        for query in ({}, {}, {"wait": 20}, {"wait": 20})
    ]
    answers = await asyncio.gather(*posts)
    assert {answer.json()["turn"] for answer in answers} == {"t1"}
    assert {answer.status_code for answer in answers} == {200, 202}
    late = await shared.http.post(path, json={"content": "Hello"}, headers=key, params={"wait": 5})
    assert late.status_code == 200
    assert len(late.json()["answers"]) == 2
    state = (await shared.http.get(f"/v1/sessions/{session}")).json()
    assert state["turns"]["total"] == 1


async def test_a_key_is_for_one_request(shared: LocalRoom) -> None:
    session = await shared.create("one-request", "a b")
    await shared.post(session, wait=20)
    path, key = f"/v1/sessions/{session}", {"Idempotency-Key": "k"}
    requests: list[tuple[str, Any]] = [
        ("turns", {"content": "One"}),
        ("turns", {"content": "Two"}),
        ("turns/t1/retry", {"participant": "a"}),
        ("turns/t1/cancel", None),
        ("pause", None),
        ("resume", None),
        ("close", None),
    ]
    first, *others = [
        await shared.http.post(f"{path}/{more}", json=body, headers=key) for more, body in requests
    ]
    assert first.status_code == 202
    for answer in [*others, await shared.http.patch(path, json={"title": "x"}, headers=key)]:
        assert answer.status_code == 422
        assert "use a new key" in answer.json()["detail"]
    again = await shared.http.post(f"{path}/turns", json={"content": "One"}, headers=key)
    assert again.json()["turn"] == first.json()["turn"] == "t2"


@pytest.mark.parametrize("more", ["pause", "resume", "close", "turns/t1/cancel"])
async def test_a_repeated_command_is_answered_as_the_first(shared: LocalRoom, more: str) -> None:
    session = await shared.create(f"repeated-{more.partition('/')[0]}", "a:late")
    await shared.post(session)
    if more == "resume":
        await shared.http.post(f"/v1/sessions/{session}/pause")
    key = {"Idempotency-Key": "k"}
    answers = [
        (await shared.http.post(f"/v1/sessions/{session}/{more}", headers=key)).json()
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["position"] > 3
    await shared.http.post(f"/v1/sessions/{session}/close")


async def test_waiting_ends_when_its_time_does(shared: LocalRoom) -> None:
    session = await shared.create("patient", "a:late")
    answer = await shared.http.post(
        f"/v1/sessions/{session}/turns", json={"content": "Hello"}, params={"wait": 0.2}
    )
    assert answer.status_code == 202
    assert answer.json() == {"turn": "t1", "position": 2, "status": "open"}
    await shared.http.post(f"/v1/sessions/{session}/turns/t1/cancel")


async def test_messages_wait_in_order_behind_the_open_turn(shared: LocalRoom) -> None:
    session = await shared.create("in-order", "a:steady")
    first = await shared.post(session, "One")
    assert first["status"] == "open"
    waiting = [await shared.post(session, text) for text in ("Two", "Three")]
    assert [turn["status"] for turn in waiting] == ["queued", "queued"]
    last = await shared.post(session, "Four", wait=30)
    assert last["status"] == "completed"
    entries = (await shared.http.get(f"/v1/sessions/{session}/transcript")).json()["entries"]
    said = [entry["text"] for entry in entries if entry["kind"] == "message"]
    assert said == ["One", "Two", "Three", "Four"]


async def test_who_does_not_want_to_queue_is_refused(shared: LocalRoom) -> None:
    session = await shared.create("busy", "a:late")
    await shared.post(session)
    path = f"/v1/sessions/{session}/turns"
    answer = await shared.http.post(path, json={"content": "Now!", "queue": False})
    assert answer.status_code == 409
    assert "let it queue" in answer.json()["detail"]
    queued = await shared.post(session, "Then later")
    cancelled = await shared.http.post(f"{path}/{queued['turn']}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    await shared.http.post(f"{path}/t1/cancel")
    state = (await shared.http.get(f"/v1/sessions/{session}")).json()
    assert [turn["status"] for turn in state["turns"]["last"]] == ["cancelled", "cancelled"]


async def test_a_full_queue_is_a_409_that_says_what_to_do(shared: LocalRoom) -> None:
    session = await shared.create("full", "a:late", queue=1)
    assert [(await shared.post(session))["status"] for _ in range(2)] == ["open", "queued"]
    answer = await shared.http.post(f"/v1/sessions/{session}/turns", json={"content": "Me too"})
    assert answer.status_code == 409
    assert "'queue'" in answer.json()["detail"]
    assert (await shared.http.post(f"/v1/sessions/{session}/close")).is_success


async def test_a_cancelled_turn_tells_those_who_wait(shared: LocalRoom) -> None:
    session = await shared.create("cancelled", "a:late b:instant")
    waiting = asyncio.create_task(shared.post(session, wait=20))
    async with shared.following(session) as follower:
        await follower.until("model.answered")
    cancelled = await shared.http.post(f"/v1/sessions/{session}/turns/t1/cancel")
    assert cancelled.status_code == 200
    turn = await waiting
    assert turn["status"] == "cancelled"
    assert turn["problem"]["reason"] == "cancelled"
    assert [answer["participant"] for answer in turn["answers"]] == ["b"]
    again = await shared.http.post(f"/v1/sessions/{session}/turns/t1/cancel")
    assert again.json() == cancelled.json()


async def test_a_cancelled_turn_shows_what_was_used_for_nothing(shared: LocalRoom) -> None:
    session = await shared.create("cancelled-usage", "a:slow")
    await shared.post(session)
    async with shared.following(session) as follower:
        while not follower.deltas:
            await asyncio.wait_for(follower.next(), 20)
        await shared.http.post(f"/v1/sessions/{session}/turns/t1/cancel")
        await follower.until("model.discarded")
    turn = (await shared.http.get(f"/v1/sessions/{session}/turns/t1")).json()
    assert turn["status"] == "cancelled"
    [called_off] = turn["discarded"]
    assert (called_off["participant"], called_off["reason"]) == ("a", "cancelled")
    assert called_off["usage"]["output"] > 0
    listed = (await shared.http.get("/v1/sessions")).json()["sessions"]
    assert next(each for each in listed if each["id"] == session)["unpriced"] == 0


async def test_an_ended_turn_cannot_be_cancelled(shared: LocalRoom) -> None:
    session = await shared.create("ended", "a")
    await shared.post(session, wait=20)
    answer = await shared.http.post(f"/v1/sessions/{session}/turns/t1/cancel")
    assert answer.status_code == 409
    assert "completed already" in answer.json()["detail"]


async def test_one_participant_is_asked_again(shared: LocalRoom) -> None:
    session = await shared.create("again", "a b:failing")
    first = await shared.post(session, wait=30)
    assert [answer["participant"] for answer in first["answers"]] == ["a"]
    assert [failure["participant"] for failure in first["failures"]] == ["b"]
    path = f"/v1/sessions/{session}/turns/t1/retry"
    answer = await shared.http.post(path, json={"participant": "a"}, params={"wait": 20})
    assert answer.status_code == 200
    assert answer.json()["turn"] == "t2"
    assert [one["participant"] for one in answer.json()["answers"]] == ["a"]
    accepted = await shared.http.post(
        path, json={"participant": "a"}, headers={"Idempotency-Key": "r"}
    )
    assert accepted.status_code == 202
    repeated = await shared.http.post(
        path, json={"participant": "a"}, params={"wait": 20}, headers={"Idempotency-Key": "r"}
    )
    assert repeated.json()["turn"] == accepted.json()["turn"] == "t3"
    nobody = await shared.http.post(path, json={"participant": "z"})
    assert nobody.status_code == 422
    assert "there are a, b" in nobody.json()["detail"]


async def test_a_long_message_comes_through_whole(shared: LocalRoom) -> None:
    session = await shared.create("long", "a")
    content = "Ж" * (SPILL // 2) + "."
    turn = await shared.post(session, content, wait=30)
    assert turn["status"] == "completed"
    events = (await shared.http.get(f"/v1/sessions/{session}/events")).json()["events"]
    kept = Blob.model_validate(events[1]["data"]["payload"]["message"]["content"])
    assert kept.size == SPILL + 1
    fetched = await shared.http.get(f"/v1/blobs/{kept.sha256}", params={"size": kept.size})
    assert fetched.content.decode() == content
    assert fetched.headers["x-content-type-options"] == "nosniff"


async def test_a_megabyte_is_taken_and_a_byte_more_is_not(shared: LocalRoom) -> None:
    session = await shared.create("megabyte", "a")
    path = f"/v1/sessions/{session}/turns"
    # Every character escaped, the longest form that this message can have.
    body = b'{"content":"%b"}' % (b"\\u0001" * (1024 * 1024))
    headers = {"Content-Type": "application/json"}
    taken = await shared.http.post(path, content=body, headers=headers)
    assert taken.status_code == 202, taken.text
    refused = await shared.http.post(path, json={"content": "x" * (1024 * 1024 + 1)})
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert "1048576" in refused.json()["detail"]


async def test_an_unknown_turn_is_a_404(shared: LocalRoom) -> None:
    session = await shared.create("no-turn", "a")
    requests: list[tuple[str, str, Any]] = [
        ("GET", "t9", None),
        ("POST", "t9/cancel", None),
        ("POST", "t9/retry", {"participant": "a"}),
    ]
    for method, path, body in requests:
        answer = await shared.http.request(
            method, f"/v1/sessions/{session}/turns/{path}", json=body
        )
        assert answer.status_code == 404, path
        assert "'t9'" in answer.json()["detail"]


@pytest.mark.parametrize("wait", ["-1", "601", "nan", "inf", "soon"])
async def test_only_a_sensible_wait_is_taken(shared: LocalRoom, wait: str) -> None:
    answer = await shared.http.post(
        "/v1/sessions/any/turns", json={"content": "Hello"}, params={"wait": wait}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "wait"


async def test_a_client_that_goes_away_leaves_nobody_waiting(room: LocalRoom) -> None:
    seat = {"id": "a", "provider": "rehearsal", "model_name": "late"}
    session = await room.create("left", models=[seat])
    posting = asyncio.create_task(room.post(session, wait=600))

    async def begun() -> bool:
        return (await room.http.get(f"/v1/sessions/{session}/turns/t1")).status_code == 200

    await eventually(begun, within=20, what="the turn is begun")
    posting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await posting
    turn = (await room.http.get(f"/v1/sessions/{session}/turns/t1")).json()
    assert turn["status"] == "open"
    tasks = room.served.server.server_state.tasks
    await eventually(lambda: not tasks, within=20, what="the end of the request")
    await room.http.post(f"/v1/sessions/{session}/close")


@pytest.mark.parametrize(
    ("session", "body", "key", "status"),
    [
        ("both", b'{"content": "Hello"}', "one", 202),
        ("both", b'{"content": "Hello", "queue": true}', "two", 202),
        ("both", b'{"content": "  "}', "", 422),
        ("both", b'{"content": "Hello", "more": 1}', "", 422),
        ("both", b'{"content": "\\ud800"}', "", 400),
        ("both", b'{"content": "Hello"}', "k" * 257, 422),
        ("nobody", b'{"content": "Hello"}', "", 404),
        ("both.", b'{"content": "Hello"}', "", 422),
        ("both", b"", "", 422),
    ],
)
async def test_the_short_way_of_a_post_says_what_the_route_says(
    shared: LocalRoom, session: str, body: bytes, key: str, status: int
) -> None:
    name = await shared.create("both", "a") if session == "both" else session
    keyed = {"Idempotency-Key": key} if key else {}
    said = []
    for kind in ("application/json", "application/json; charset=utf-8"):
        answer = await shared.http.post(
            f"/v1/sessions/{name}/turns", content=body, headers={"Content-Type": kind, **keyed}
        )
        told = answer.json()
        told.pop("status")  # of a turn: it may be over by the second time
        said.append((answer.status_code, answer.headers["content-type"], told))
    assert said[0] == said[1]
    assert said[0][0] == status


async def test_the_short_way_takes_a_plain_post_and_nothing_else(shared: LocalRoom) -> None:
    passed_on: list[bytes] = []

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        passed_on.append(await Request(scope, receive).body())
        await Response(status_code=204)(scope, receive, send)

    short = ShortPost(route, Doors.of(shared.room, patience=4))
    transport = httpx2.ASGITransport(Guard(short, shared.settings))
    path = f"/v1/sessions/{await shared.create('short', 'a')}/turns"
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post(path, json={"content": "Hello"})).status_code == 202
        assert passed_on == []
        for query, content in (("?wait=1", "Hello"), ("", ""), ("", "x" * LONGEST)):
            answer = await client.post(path + query, json={"content": content})
            assert answer.status_code == 204
            assert json.loads(passed_on[-1]) == {"content": content}
