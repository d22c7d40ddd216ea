"""Pieces of answers are batched, in order, and in the form that a browser gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from actors import subjects
from actors.bus import Bus, Msg
from actors.deltas import LONGEST, DeltaPublisher
from actors.providers.port import Delta


class Eyes:
    """Takes what is published for one session."""

    def __init__(self) -> None:
        self.session = f"s{uuid4().hex[:12]}"
        self.seen: list[dict[str, Any]] = []
        self._came = asyncio.Condition()

    async def take(self, msg: Msg) -> None:
        assert len(msg.data) < 512 * 1024
        self.seen.append(json.loads(msg.data))
        async with self._came:
            self._came.notify_all()

    async def until(self, characters: int) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(
                lambda: sum(len(one["text"]) for one in self.seen) >= characters
            )


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url)
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def eyes(bus: Bus) -> Eyes:
    eyes = Eyes()
    await bus.subscribe(subjects.deltas(eyes.session), eyes.take)
    return eyes


@pytest.fixture
async def publisher(bus: Bus) -> AsyncIterator[DeltaPublisher]:
    publisher = DeltaPublisher(bus)
    publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def test_a_burst_is_one_message(publisher: DeltaPublisher, eyes: Eyes) -> None:
    stream = publisher.open(eyes.session, "t1", "ask:m1:1", 2)
    for n in range(1000):
        stream.add(Delta("text", f"{n} "))
    text = "".join(f"{n} " for n in range(1000))
    await eyes.until(len(text))
    assert eyes.seen == [
        {
            "type": "delta",
            "turn": "t1",
            "step": "ask:m1:1",
            "attempt": 2,
            "participant": "m1",
            "channel": "text",
            "seq": 0,
            "text": text,
        }
    ]


async def test_channels_have_offsets_of_their_own_and_stay_in_order(
    publisher: DeltaPublisher, eyes: Eyes
) -> None:
    stream = publisher.open(eyes.session, "t1", "ask:m1:1", 1)
    stream.add(Delta("reasoning", "Hm 🙂"))
    stream.add(Delta("text", "A"))
    stream.add(Delta("reasoning", "Well"))
    await eyes.until(9)
    stream.add(Delta("text", "B"))
    await stream.flush()
    await eyes.until(10)
    assert [(one["channel"], one["seq"], one["text"]) for one in eyes.seen] == [
        ("reasoning", 0, "Hm 🙂"),
        ("text", 0, "A"),
        ("reasoning", 4, "Well"),
        ("text", 1, "B"),
    ]


async def test_what_comes_during_a_pause_is_put_together(eyes: Eyes, bus: Bus) -> None:
    publisher = DeltaPublisher(bus, interval=0.2)
    publisher.start()
    try:
        streams = [publisher.open(eyes.session, "t1", f"ask:m{n}:1", 1) for n in range(3)]
        streams[0].add(Delta("text", "at once"))
        await eyes.until(7)
        for _ in range(50):
            for stream in streams:
                stream.add(Delta("text", "x"))
            await asyncio.wait({asyncio.ensure_future(bus.wait_connected())})
        await eyes.until(7 + 150)
        assert [len(one["text"]) for one in eyes.seen] == [7, 50, 50, 50]
    finally:
        await publisher.stop()


async def test_a_long_piece_is_cut_into_messages(publisher: DeltaPublisher, eyes: Eyes) -> None:
    stream = publisher.open(eyes.session, "t1", "ask:m1:1", 1)
    text = "\x00🙂" * LONGEST
    stream.add(Delta("text", text))
    await eyes.until(len(text))
    assert "".join(one["text"] for one in eyes.seen) == text
    assert [one["seq"] for one in eyes.seen] == [0, LONGEST]


async def test_half_a_character_does_not_stop_the_stream(
    publisher: DeltaPublisher, eyes: Eyes
) -> None:
    stream = publisher.open(eyes.session, "t1", "ask:m1:1", 1)
    stream.add(Delta("text", "a\ud83db"))
    await eyes.until(3)
    assert eyes.seen[0]["text"] == "a?b"
