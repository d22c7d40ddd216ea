"""Which core does what, and what processes cost: processor time and memory, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")

TIME_WRAP = 100_000_000
"""Stamps count tenths of a millisecond of the machine's monotonic clock, modulo this."""


@cache
def cores() -> tuple[int, int]:
    """The core of what is outside (provider, clients), and the core of what is measured.

    Of those that this process might use when it was asked first; the same one where it is alone.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Have this process, and what it starts meanwhile, run on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def processor_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Processor time of each process so far; one that has ended is left out."""
    found = {}
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found[pid] = (int(fields[11]) + int(fields[12])) / _TICK
    return found


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional memory of a process in MB; shared pages count fully in the first.

    Zeros for a process that has ended.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    sizes = {
        name: int(value.split()[0]) / 1024
        for name, _, value in (line.partition(":") for line in text.splitlines()[1:])
    }
    return sizes.get("Rss", 0.0), sizes.get("Pss", 0.0)


def command_line(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def started_at(pid: int) -> float:
    """When a process was started, in seconds since boot."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return int(stat.rpartition(")")[2].split()[19]) / _TICK


def stamp(at: float | None = None) -> int:
    """The present time (or `at`, of the monotonic clock) as tokens carry it."""
    return int((time.monotonic() if at is None else at) * 10_000) % TIME_WRAP


def late_ms(now: int, due: int) -> float:
    """Milliseconds from stamp `due` to stamp `now`; negative where it is still to come."""
    difference = (now - due) % TIME_WRAP
    return (difference - TIME_WRAP if difference > TIME_WRAP // 2 else difference) / 10
