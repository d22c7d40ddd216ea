"""Answers in streams, with the client that OpenAI itself publishes."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI

from api.openai_door import answering
from tests.api.openai_door import (
    ADD,
    HELLO,
    saved,
    streamed,
    turn_of,
)
from tests.rooms import LocalRoom


async def test_a_model_is_heard_as_it_speaks(shared: LocalRoom, client: AsyncOpenAI) -> None:
    text, reasoning, chunks = await streamed(
        client, "paced/steady", stream_options={"include_usage": True}
    )
    assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 5
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert text == (await turn_of(shared, chunks[-2]))["answer"]
    assert reasoning == ""


async def test_all_in_a_room_are_heard_one_after_the_other(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "heard", "a:steady b:slow c:steady")
    text, reasoning, chunks = await streamed(client, model, extra_body={"include_answers": True})
    turn = await turn_of(shared, chunks[-1])
    for one in turn["answers"]:
        id = one["participant"]
        assert f"**{id.upper()} ({id})**\n\n{one['text']}" in text
    assert len(text) == sum(len(one["text"]) + len("**A (a)**\n\n") for one in turn["answers"]) + 4
    assert len(chunks[-1].choices[0].delta.answers) == 3
    assert reasoning == ""


async def test_where_the_answer_is_known_late_what_led_to_it_is_reasoning(
    shared: LocalRoom, client: AsyncOpenAI
) -> None:
    model = await saved(shared, "voted", "a b c", routing_pattern="voting")
    text, reasoning, chunks = await streamed(client, model)
    turn = await turn_of(shared, chunks[-1])
    assert text == turn["answer"]
    for one in turn["answers"]:
        assert one["text"] in reasoning


async def test_a_synthesis_is_heard_as_it_is_spoken(shared: LocalRoom, client: AsyncOpenAI) -> None:
    model = await saved(
        shared, "synthesis", "a:steady b c", routing_pattern="coordinator", coordinator="a"
    )
    text, _, chunks = await streamed(client, model)
    turn = await turn_of(shared, chunks[-1])
    assert text == turn["answer"]
    parts = len([c for c in chunks if c.choices[0].delta.content])
    spoken = [one for one in turn["answers"] if one["purpose"] == "synthesis"]
    assert parts > 5 if spoken else parts >= 1


async def test_calls_of_tools_come_in_a_stream(client: AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Please call add."}]
    calls: list[Any] = []
    finish = None
    async for chunk in await client.chat.completions.create(
        model="paced/steady", messages=messages, tools=[ADD], stream=True
    ):
        calls += chunk.choices[0].delta.tool_calls or ()
        finish = chunk.choices[0].finish_reason or finish
    assert finish == "tool_calls"
    assert [call.function.name for call in calls] == ["add"]
    assert [call.index for call in calls] == [0]


async def test_a_stream_says_that_it_is_alive_while_nothing_comes(
    shared: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "HOLD", 0.05)
    monkeypatch.setattr(answering, "BEAT", 0.05)
    body = {"model": "paced/late", "messages": HELLO, "stream": True}
    answer = await shared.http.post("/openai/v1/chat/completions", json=body)
    events = answer.text.split("\n\n")
    said = [n for n, event in enumerate(events) if event.startswith("data:")]
    assert ": alive" in events[: said[1]]
    assert events[-2:] == ["data: [DONE]", ""]
