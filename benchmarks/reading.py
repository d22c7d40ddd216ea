"""Reading: long answers as fast as they come, by the room's provider and by plain clients."""

from __future__ import annotations

from benchmarks.floors import READERS
from benchmarks.load import Load
from benchmarks.provider import running_provider
from benchmarks.report import Report, median, number
from benchmarks.rounds import on_floor

TOKENS = 1000


async def run(*, quick: bool = False) -> Report:
    """Measure the readers in turn, each in a process of its own on one core."""
    load = Load(4, 2 if quick else 5, TOKENS)
    found: dict[str, list[float]] = {name: [] for name in READERS}
    async with running_provider() as provider:
        for _ in range(2 if quick else 4):
            for name, costs in found.items():
                [result] = await on_floor(name, provider.url, [load])
                costs.append(result.cpu_us_per_token)
    cost = {name: median(costs) for name, costs in found.items()}
    rows = [
        (
            title,
            number(cost[name]),
            number(1e6 / cost[name]),
            number(cost["openai"] / cost[name]),
        )
        for name, title in READERS.items()
    ]
    return Report(
        f"reading: twenty streamed answers of {TOKENS} tokens at a time",
        ("", "CPU us a token", "tokens a second and core", "to openai"),
        rows,
        [],
    )
