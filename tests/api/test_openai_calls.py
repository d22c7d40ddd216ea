"""Clients of OpenAI that go away, and such that come again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from actors.messages import CreateSession
from api.openai_door.bringing import LONGEST_SCHEMA
from events.values import Blob
from tests.api.openai_door import (
    HELLO,
    events_of,
    streamed,
)
from tests.lost_answers import lost_answers
from tests.rooms import LocalRoom
from tests.waiting import eventually


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_away_calls_the_turn_off(
    shared: LocalRoom, client: AsyncOpenAI, stream: bool
) -> None:
    """Down to the provider: the model has no call any more."""
    session = f"left-{stream}".lower()
    await shared.create(session, "a:late")
    asking = asyncio.create_task(
        client.chat.completions.create(model=f"session/{session}", messages=HELLO, stream=stream)
    )

    async def begun() -> bool:
        return bool(await events_of(shared, session, "model.asked"))

    await eventually(begun, within=20, what="the model is asked")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async def cancelled() -> bool:
        turn = (await shared.http.get(f"/v1/sessions/{session}/turns/t1")).json()
        return bool(turn["status"] == "cancelled" and turn["discarded"])

    await eventually(cancelled, within=10, what="the turn is called off, and its call is too")
    ended = await events_of(shared, session, "turn.cancelled")
    assert ended == [{"reason": "the client at the door went away"}]
    running = (await shared.http.get("/v1/models")).json()["running"]
    late = [one for one in running if one["model_name"] == "late"]
    assert [one["running"] for one in late] == [0]


async def test_who_stops_listening_calls_the_turn_off(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("stopped", "a:slow")
    chunks = await client.chat.completions.create(
        model="session/stopped", messages=HELLO, stream=True
    )
    async for chunk in chunks:
        if chunk.choices[0].delta.content:
            break
    await chunks.close()

    async def cancelled() -> bool:
        turn = (await shared.http.get("/v1/sessions/stopped/turns/t1")).json()
        return bool(turn["status"] == "cancelled" and turn["discarded"])

    await eventually(cancelled, within=10, what="the turn is called off, and its call is too")


async def test_a_session_of_the_door_is_not_followed_any_longer(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("followed", "a")
    app: Any = shared.served.server.config.app
    for model in ("paced/instant", "session/followed"):
        for stream in (False, True):
            done: Any = await client.chat.completions.create(
                model=model, messages=HELLO, stream=stream
            )
            if stream:
                assert [chunk async for chunk in done]
    followed = app.state.doors.feeds._uses

    def left() -> bool:
        return not [id for id in followed if id.startswith("door_")]

    await eventually(left, within=20, what="feeds of the door's own sessions end with their call")
    assert "followed" in followed


async def test_a_key_makes_a_repetition_the_same_call(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    keyed = {"Idempotency-Key": "the-same"}
    first, second = [
        await client.chat.completions.create(
            model="paced/steady", messages=HELLO, extra_headers=keyed
        )
        for _ in range(2)
    ]
    assert first.id == second.id
    assert first.choices == second.choices
    text, _, chunks = await streamed(client, "paced/steady", extra_headers=keyed)
    assert (chunks[-1].id, text) == (first.id, first.choices[0].message.content)
    with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
        await client.chat.completions.create(
            model="paced/steady", messages=[{"role": "user", "content": "Else"}],
            extra_headers=keyed,
        )  # fmt: skip


async def test_one_of_two_under_a_key_goes_away_and_the_other_gets_the_answer(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    await shared.create("two-wait", "a:slow")
    body: Any = {"model": "session/two-wait", "messages": HELLO, "stream": True}
    keyed = {"Idempotency-Key": "two-wait"}
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(2):
            chunks = await client.chat.completions.create(**body, extra_headers=keyed)
            stack.push_async_callback(chunks.close)
            assert (await anext(aiter(chunks))).choices
            streams.append(chunks)
        first, second = streams
        await first.close()
        callers = shared.served.doors.callers
        await eventually(lambda: callers.waiting("two-wait") == 1, within=10, what="one is gone")
        finished = [c.choices[0].finish_reason async for c in second if c.choices]
        assert finished[-1] == "stop"
    assert not await events_of(shared, "two-wait", "turn.cancelled")

    keyed = {"Idempotency-Key": "both-go"}
    both = [await client.chat.completions.create(**body, extra_headers=keyed) for _ in range(2)]
    await asyncio.gather(*(chunks.close() for chunks in both))

    async def cancelled() -> bool:
        return bool(await events_of(shared, "two-wait", "turn.cancelled"))

    await eventually(cancelled, within=10, what="the turn is called off")


async def test_what_was_called_off_is_begun_anew_under_its_key(client: AsyncOpenAI) -> None:
    keyed = {"Idempotency-Key": "broken-off"}
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.4, max_retries=0).chat.completions.create(
            model="paced/late", messages=HELLO, extra_headers=keyed
        )
    done = await client.chat.completions.create(
        model="paced/late", messages=HELLO, extra_headers=keyed
    )
    assert done.choices[0].message.content


async def test_a_long_schema_is_taken_or_refused_in_words(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    def wanted(length: int) -> Any:
        schema = {"type": "object", "description": "x" * length}
        return {"type": "json_schema", "json_schema": {"name": "long", "schema": schema}}

    async def asked(length: int) -> Any:
        return await client.chat.completions.create(
            model="paced/instant", messages=HELLO, response_format=wanted(length)
        )

    with lost_answers(shared, CreateSession) as bus:
        done = await asked(LONGEST_SCHEMA - 100)
    assert done.choices[0].message.content
    assert isinstance(bus.seen[0].config, Blob)  # as every long one goes
    with pytest.raises(openai.APIStatusError, match="its schema may have 262144 bytes") as refused:
        await asked(1_200_000)
    assert refused.value.status_code == 413
