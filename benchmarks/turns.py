"""Turns: one user message to five models that answer at once, for 1 session and for 100."""

from __future__ import annotations

from benchmarks.floors import FLOORS
from benchmarks.load import Load
from benchmarks.provider import running_provider
from benchmarks.report import Mark, Report, number
from benchmarks.room import running_room
from benchmarks.rounds import ROOM, interleaved


async def run(*, quick: bool = False) -> Report:
    """Measure the floors and the room in turn."""
    loads = [Load(1, 20), Load(100, 2)] if quick else [Load(1, 50), Load(100, 5)]
    async with running_provider() as provider, running_room(provider.url) as room:
        found = await interleaved(provider, room, loads, 2 if quick else 4)
    names = {**FLOORS, ROOM: "the room: durable, from the POST to the end at the WebSocket"}
    one = {name: results[0] for name, results in found.items()}
    many = {name: results[1] for name, results in found.items()}
    rows = [
        (
            title,
            number(one[name].turn_ms),
            number(one[name].turn_ms / one["openai"].turn_ms),
            number(one[name].cpu_seconds / loads[0].all_turns * 1000),
            number(many[name].turns_per_second),
            number(many[name].turns_per_second / many["openai"].turns_per_second),
            number(many[name].cpu_seconds / loads[1].all_turns * 1000),
        )
        for name, title in names.items()
    ]
    marks = [
        Mark(
            "1 session, ms a turn against the bare gather on the openai client (ratio)",
            one[ROOM].turn_ms / one["openai"].turn_ms,
            1.0,
            at_most=True,
        ),
        Mark(
            "100 sessions, turns/s against the bare gather on the openai client (ratio)",
            many[ROOM].turns_per_second / many["openai"].turns_per_second,
            10.0,
        ),
    ]
    return Report(
        "turns: one message to five models that answer at once",
        (
            "",
            "1 session, ms a turn",
            "to openai",
            "CPU ms a turn",
            "100 sessions, turns/s",
            "to openai",
            "CPU ms a turn",
        ),
        rows,
        marks,
    )
