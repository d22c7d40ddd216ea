"""Memory of an idle room, and how long it takes from its start to the first token."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from benchmarks.load import MESSAGE
from benchmarks.machine import memory
from benchmarks.provider import ProviderProcess, running_provider
from benchmarks.report import Report, number
from benchmarks.room import RoomProcess, running_room

REHEARSAL = "instant"
"""A temper of the built-in provider: what is measured is the room, not a model."""
FIRST_WITHIN = 90.0
SETTLING = 5.0
"""Seconds."""


async def run(*, quick: bool = False) -> Report:
    """Start a room twice in one data directory; measure its memory the second time."""
    with tempfile.TemporaryDirectory(prefix="room-") as folder:
        async with running_provider() as provider:
            rows = [
                (f"{which} start of a data directory", *await _start(provider, Path(folder), which))
                for which in ("first", "second")
            ]
            async with running_room(provider.url, home=Path(folder)) as room:
                without = _memory(room)
                await _turn(room, "memory", 5)
                await asyncio.sleep(0 if quick else SETTLING)
                held = _memory(room)
    started = Report(
        "memory: from `control-room serve` to the first token",
        ("", "ready after s", "first token after s"),
        rows,
        remarks=["An installed room, with one participant; `make` itself adds a few hundredths."],
    )
    parts = sorted(held, key=lambda part: -held[part][2])
    return Report(
        "memory: an idle room, MB",
        ("", "processes", "resident (RSS)", "its share (PSS)"),
        [
            *((part, *map(number, held[part])) for part in parts),
            ("all, with five models running", *_sums(held)),
            ("all, before any session", *_sums(without)),
        ],
        remarks=["Pages that processes share are counted once in PSS and each time in RSS."],
        more=[started],
    )


async def _start(provider: ProviderProcess, home: Path, which: str) -> tuple[str, str]:
    began = time.perf_counter()
    async with running_room(provider.url, home=home) as room:
        first = await _turn(room, which, 1)
        return number(room.ready_after), number(first - began)


async def _turn(room: RoomProcess, session: str, participants: int) -> float:
    """Hold one turn in a new session; returns when its first token was at the WebSocket."""
    first: float | None = None
    models = [
        {"id": f"m{number}", "provider": "bench", "model_name": f"bench-{number}"}
        for number in range(1, participants)
    ]
    models.append({"id": "m", "provider": "rehearsal", "model_name": REHEARSAL})
    body = {"session_id": session, "models": models}
    at = f"{room.url}/v1/sessions"
    async with aiohttp.ClientSession() as http, asyncio.timeout(FIRST_WITHIN):
        async with http.post(at, json=body) as answer:
            answer.raise_for_status()
        async with http.ws_connect(f"{at}/{session}/stream") as socket:
            async with http.post(f"{at}/{session}/turns", json={"content": MESSAGE}) as answer:
                answer.raise_for_status()
            async for message in socket:
                if message.data.startswith('{"type":"delta"'):
                    first = first or time.perf_counter()
                elif '"type":"turn.completed"' in message.data and first is not None:
                    return first
    raise RuntimeError("the WebSocket was closed before the answers had come")


def _memory(room: RoomProcess) -> dict[str, tuple[float, float, float]]:
    """Processes, RSS and PSS by part."""
    parts: dict[str, tuple[float, float, float]] = {}
    for pid, part in room.parts().items():
        count, resident, share = parts.get(part, (0.0, 0.0, 0.0))
        rss, pss = memory(pid)
        parts[part] = (count + 1, resident + rss, share + pss)
    return parts


def _sums(parts: dict[str, tuple[float, float, float]]) -> tuple[str, ...]:
    return tuple(number(sum(column)) for column in zip(*parts.values(), strict=True))
