"""Clients of a room: each posts messages to a session of its own and watches it by WebSocket."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from benchmarks.lateness import Lateness
from benchmarks.load import MESSAGE, MODELS, Load, Measured
from benchmarks.room import RoomProcess

TURN_WITHIN = 60.0
"""Seconds."""

_ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class Visitor:
    """One session, and one WebSocket on it."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, session: str, lateness: Lateness | None
    ) -> None:
        self.seen: Counter[str] = Counter()
        self.turns: list[float] = []
        self._http = http
        self._url = f"{url}/v1/sessions/{session}"
        self._lateness = lateness
        self._ended = asyncio.Event()

    async def hold(self, turns: int) -> None:
        """Post so many messages, each when the turn before has ended."""
        for _ in range(turns):
            self._ended.clear()
            began = time.perf_counter()
            async with self._http.post(f"{self._url}/turns", json={"content": MESSAGE}) as answer:
                if answer.status != 202:
                    raise RuntimeError(f"a turn was refused: {await answer.text()}")
            await asyncio.wait_for(self._ended.wait(), TURN_WITHIN)
            self.turns.append(time.perf_counter() - began)

    async def watch(self, opened: asyncio.Event) -> None:
        """See everything that the WebSocket brings, until cancelled."""
        url = f"{self._url}/stream?lines=true"
        async with self._http.ws_connect(url, max_msg_size=0, autoping=True) as socket:
            opened.set()
            async for message in socket:
                for line in message.data.split("\n"):
                    self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith('{"type":"delta"'):
            if self._lateness is not None:
                _, _, text = line.rpartition('"text":"')
                self._lateness.see(text[:-2])
            return
        kind = _kind(line)
        self.seen[kind] += 1
        if kind in _ENDS:
            self._ended.set()


def _kind(line: str) -> str:
    """The type of an event's frame, without reading all of it."""
    start = line.index('"type":"', 16) + 8
    return line[start : line.index('"', start)]


@asynccontextmanager
async def visitors(
    room: RoomProcess, load: Load, name: str, lateness: Lateness | None = None, **config: Any
) -> AsyncIterator[list[Visitor]]:
    """So many visitors with new sessions, each with its WebSocket open; `config` is the sessions'.

    Participants are shown the last message alone, so that every turn asks the same.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
            )
        )
        watching: list[asyncio.Task[None]] = []
        stack.callback(lambda: [task.cancel() for task in watching])
        found = []
        for number in range(load.sessions):
            session = f"{name}-{number}"
            await _create(http, room.url, session, load, config)
            visitor = Visitor(http, room.url, session, lateness)
            opened = asyncio.Event()
            watching.append(asyncio.create_task(visitor.watch(opened)))
            await asyncio.wait_for(opened.wait(), TURN_WITHIN)
            found.append(visitor)
        yield found


async def _create(
    http: aiohttp.ClientSession, url: str, session: str, load: Load, config: dict[str, Any]
) -> None:
    participants = [
        {
            "id": model,
            "provider": "bench",
            "model_name": model,
            "max_tokens": load.tokens,
            "extra": {"tokens_per_second": load.pace},
        }
        for model in MODELS
    ]
    body = {"session_id": session, "models": participants, "history": "isolated", "window": 1}
    async with http.post(f"{url}/v1/sessions", json={**body, **config}) as answer:
        if answer.status != 201:
            raise RuntimeError(f"a session was refused: {await answer.text()}")


async def measured(room: RoomProcess, load: Load, name: str, **config: Any) -> Measured:
    """Run the load on the room; processor time is that of all its processes."""
    lateness = Lateness() if load.pace else None
    async with visitors(room, load, name, lateness, **config) as found:
        before, began = room.processor_seconds(), time.perf_counter()
        await asyncio.gather(*(visitor.hold(load.turns) for visitor in found))
        seconds, after = time.perf_counter() - began, room.processor_seconds()
        check(found, load, lateness)
    cpu = sum(after[pid] - before.get(pid, 0.0) for pid in after)
    return Measured(
        seconds=seconds,
        turn_ms=statistics.median(turn for one in found for turn in one.turns) * 1000,
        turns_per_second=load.all_turns / seconds,
        cpu_seconds=cpu,
        cpu_us_per_token=cpu / load.all_tokens * 1e6,
        mean_late_ms=lateness.mean() if lateness else 0.0,
        p99_late_ms=lateness.percentile(0.99) if lateness else 0.0,
    )


def check(found: list[Visitor], load: Load, lateness: Lateness | None) -> None:
    """Raise where not every turn was completed with every answer, or a token did not come."""
    seen: Counter[str] = sum((one.seen for one in found), Counter())
    wanted = {"turn.completed": load.all_turns, "model.answered": load.all_turns * len(MODELS)}
    for kind, count in wanted.items():
        if seen[kind] != count:
            raise RuntimeError(f"{seen[kind]} of {count} {kind}: saw {dict(seen)}")
    if lateness is not None and lateness.count != load.all_tokens:
        raise RuntimeError(f"{lateness.count} tokens came, not {load.all_tokens}")
