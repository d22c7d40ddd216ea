"""A client that drops its stream at any point and returns with its cursor misses nothing.

Real room, real sockets: only when to drop, how, and what to post is generated.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from actors.providers.config import ProviderSpec
from tests.rooms import LocalRoom, local_room

_names = (f"dropped-{number}" for number in count())

DROPS = st.lists(
    st.tuples(
        st.integers(0, 40) | st.integers(0, 400),
        st.sampled_from(["close", "abort", "abandon"]),
        st.booleans(),
    ),
    max_size=6,
)
"""After how many messages to leave, how, and whether the next connection takes several a frame."""

PARTICIPANTS = st.lists(
    st.sampled_from(["steady", "steady", "instant", "flaky", "failing"]), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
async def room(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRoom]:
    brisk = ProviderSpec(id="brisk", type="rehearsal", config={"pace": 30, "tries": 2})
    async with local_room(tmp_path_factory.mktemp("room"), brisk) as room:
        yield room


class Client:
    """What one client keeps: its cursor, the events, and what it has read of each answer."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.open: set[tuple[str, str]] = set()
        self.read: dict[tuple[str, str, int, str], str] = {}
        self.turns_ended = 0

    @property
    def cursor(self) -> int:
        return int(self.events[-1]["data"]["position"]) if self.events else 0

    def take(self, message: dict[str, Any], fresh: dict[Any, str]) -> None:
        """One message; `fresh` is what came over the present connection of each answer."""
        if message["type"] == "delta":
            step = message["turn"], message["step"]
            key = (*step, message["attempt"], message["channel"])
            assert step in self.open, f"a piece of {step}, which is not open"
            assert message["seq"] == len(fresh[key]), f"{key} does not begin anew or has a gap"
            fresh[key] += message["text"]
            before = self.read.get(key, "")
            assert fresh[key].startswith(before) or before.startswith(fresh[key])
            self.read[key] = max(before, fresh[key], key=len)
            return
        event = message["event"]
        assert message["position"] == event["data"]["position"] == self.cursor + 1
        self.events.append(event)
        step = event["data"]["turn"], event["data"]["step"]
        if event["type"] == "model.asked":
            self.open.add(step)
        elif event["type"] in ("model.answered", "model.failed", "model.cancelled"):
            self.open.remove(step)
            if event["type"] == "model.answered":
                self.compare(step, event["data"]["payload"])
        elif event["type"] in ("turn.completed", "turn.failed", "turn.cancelled"):
            self.turns_ended += 1

    def compare(self, step: tuple[str, str], answer: dict[str, Any]) -> None:
        """The answer is complete, and what was read of it was its beginning."""
        assert answer["text"]
        read = self.read.get((*step, answer["attempt"], "text"), "")
        assert answer["text"].startswith(read)

    async def watch(self, socket: ClientConnection, turns: int, leave_after: int | None) -> bool:
        """Read until so many turns have ended (True), or leave after so many messages."""
        fresh: dict[Any, str] = defaultdict(str)
        seen = 0
        while self.turns_ended < turns:
            if leave_after is not None and seen >= leave_after:
                return False
            frame = await socket.recv()
            for line in str(frame).splitlines():
                self.take(json.loads(line), fresh)
                seen += 1
        return True


@given(drops=DROPS, models=PARTICIPANTS, pattern=st.sampled_from(["broadcast", "round_robin"]))
@settings(max_examples=20)
async def test_every_event_comes_once_and_open_answers_from_their_beginning(
    room: LocalRoom, drops: list[tuple[int, str, bool]], models: list[str], pattern: str
) -> None:
    session = next(_names)
    seats = [
        {"id": f"m{number}", "provider": "brisk", "model_name": model}
        for number, model in enumerate(models)
    ]
    await room.create(session, models=seats, routing_pattern=pattern)
    turns = 2
    posting = asyncio.create_task(_post(room, session, turns))
    client = Client()
    abandoned: list[ClientConnection] = []
    try:
        async with asyncio.timeout(60):
            for leave_after, manner, lines in [*drops, (None, "close", False)]:
                url = room.stream_url(session, client.cursor, lines=str(lines).lower())
                socket = await connect(url, compression=None, max_size=None, proxy=None)
                done = await client.watch(socket, turns, leave_after)
                if manner == "close" or done:
                    await socket.close()
                elif manner == "abort":
                    socket.transport.abort()
                else:
                    abandoned.append(socket)  # it stays open, and nobody reads it any more
                if done:
                    break
    finally:
        await posting
        for socket in abandoned:
            socket.transport.abort()
    recorded = await room.http.get(f"/v1/sessions/{session}/events", params={"limit": 1000})
    assert client.events == recorded.json()["events"]
    assert client.open == set()


async def _post(room: LocalRoom, session: str, turns: int) -> None:
    for number in range(turns):
        await room.post(session, f"Question {number}")
