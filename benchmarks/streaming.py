"""Streaming: answers of 200 tokens at 100 a second, five at once in each session."""

from __future__ import annotations

from benchmarks.floors import FLOORS
from benchmarks.load import Load
from benchmarks.provider import running_provider
from benchmarks.report import Mark, Report, number
from benchmarks.room import running_room
from benchmarks.rounds import ROOM, interleaved

PACE = 100
"""Tokens a second of each answer."""


async def run(*, quick: bool = False) -> Report:
    """Measure the floors and the room in turn."""
    tokens = 100 if quick else 200
    loads = [Load(20, 1, tokens, PACE), Load(100, 1, tokens, PACE)]
    async with running_provider() as provider, running_room(provider.url) as room:
        found = await interleaved(provider, room, loads, 1 if quick else 2)
        seen = await provider.seen()
    names = {**FLOORS, ROOM: "the room: through to the WebSocket"}
    few = {name: results[0] for name, results in found.items()}
    many = {name: results[1] for name, results in found.items()}
    rows = [
        (
            title,
            number(few[name].cpu_us_per_token),
            number(few[name].mean_late_ms),
            number(few[name].p99_late_ms),
            number(many[name].cpu_us_per_token),
            number(many[name].mean_late_ms),
            number(many[name].p99_late_ms),
        )
        for name, title in names.items()
    ]
    marks = [
        Mark("20 sessions, CPU us a token", few[ROOM].cpu_us_per_token, 75, at_most=True),
        Mark("100 sessions, mean lateness in ms", many[ROOM].mean_late_ms, 100, at_most=True),
    ]
    remarks = [
        "The provider itself sent its tokens "
        f"{number(seen['mean_late_ms'])} ms late in the mean of all rounds; that is included."
    ]
    return Report(
        "streaming: five answers of "
        f"{tokens} tokens at {PACE} a second in each session, all sessions at once",
        (
            "",
            "20 sessions, CPU us a token",
            "late ms (mean)",
            "(p99)",
            "100 sessions, CPU us a token",
            "late ms (mean)",
            "(p99)",
        ),
        rows,
        marks,
        remarks,
    )
