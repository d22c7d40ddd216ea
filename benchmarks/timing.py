"""What a run costs: the best of a few rounds, by two clocks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

ROUNDS = 3

Cost = tuple[float, float]
"""Seconds of the clock, and of the processor."""


async def best(run: Callable[[], Awaitable[None]]) -> Cost:
    """The least that a round took, by each clock."""
    found = []
    for _ in range(ROUNDS):
        begin, used = time.perf_counter(), time.process_time()
        await run()
        found.append((time.perf_counter() - begin, time.process_time() - used))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


def rate(events: int, cost: Cost) -> str:
    """Events a second, and processor time of an event."""
    wall, cpu = cost
    return f"{events / wall:>12,.0f}/s{cpu / events * 1e6:>8.1f} us"
