"""What was done although nobody heard of it is done once, however it is asked for again."""

from __future__ import annotations

import asyncio

import openai
import pytest
from mcp import Client

from actors.messages import CreateSession, PostTurn
from api.commands import TRIES
from tests.api.openai_door import HELLO, client_of, door_sessions
from tests.lost_answers import lost_answers
from tests.rooms import LocalRoom, config
from tests.waiting import eventually

RUN = {
    "framework": {
        "type": "langchain",
        "config": {"steps": [{"model_id": "a", "prompt_template": "Owls?"}]},
    },
    "models": {"a": "paced/instant"},
}


@pytest.mark.parametrize("kind", [CreateSession, PostTurn])
async def test_a_run_is_started_once(
    room: LocalRoom, kind: type[CreateSession] | type[PostTurn]
) -> None:
    with lost_answers(room, kind, TRIES):
        unheard = await room.http.post("/v1/runs", json=RUN)
    assert unheard.status_code == 503
    key = {"Idempotency-Key": unheard.headers["idempotency-key"]}
    again = await room.http.post("/v1/runs", json=RUN, headers=key)
    assert again.status_code == 202, again.text
    listed = (await room.http.get("/v1/runs")).json()["runs"]
    assert [one["run_id"] for one in listed] == [again.json()["run_id"]]
    view = (await room.http.get(f"/v1/runs/{again.json()['run_id']}")).json()
    assert len(view["turns"]) == 1


async def test_a_session_is_begun_once(room: LocalRoom) -> None:
    body = {"models": config("any", "a")["models"]}
    with lost_answers(room, CreateSession, TRIES):
        unheard = await room.http.post("/v1/sessions", json=body)
    assert unheard.status_code == 503
    key = {"Idempotency-Key": unheard.headers["idempotency-key"]}
    again = await room.http.post("/v1/sessions", json=body, headers=key)
    assert again.status_code == 200, again.text
    listed = (await room.http.get("/v1/sessions")).json()["sessions"]
    assert len(listed) == 1


async def test_a_client_of_openai_does_not_pay_again_by_itself(room: LocalRoom) -> None:
    async with client_of(room) as client:
        with lost_answers(room, PostTurn, TRIES), pytest.raises(openai.APIStatusError) as unheard:
            await client.chat.completions.create(model="paced/instant", messages=HELLO)
        assert unheard.value.status_code == 503
        assert len(await door_sessions(room)) == 1
        key = {"Idempotency-Key": unheard.value.response.headers["idempotency-key"]}
        done = await client.chat.completions.create(
            model="paced/instant", messages=HELLO, extra_headers=key
        )
        assert done.choices[0].message.content
        with lost_answers(room, PostTurn, TRIES) as lossy:  # under a key it may ask by itself
            again = await client.chat.completions.create(
                model="paced/instant", messages=HELLO, extra_headers=key
            )
            assert not lossy.losing
        assert again.id == done.id
    (made,) = await door_sessions(room)
    assert made["turns"] == 1


async def test_a_tool_call_that_is_given_up_while_it_is_posted_calls_the_turn_off(
    room: LocalRoom,
) -> None:
    await room.create("s1", "a:late")
    heard = asyncio.Event()
    with lost_answers(room, PostTurn, held=heard) as lossy:
        async with Client(f"{room.url}/mcp") as client, room.following("s1") as watcher:
            asking = asyncio.create_task(
                client.call_tool("ask_room", {"message": "Hello", "session": "s1"})
            )
            await asyncio.wait_for(lossy.answered.wait(), 20)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            callers = room.served.doors.callers
            await eventually(lambda: not callers.waiting("s1"), within=20, what="it is given up")
            heard.set()
            await watcher.until("turn.cancelled", within=20)
