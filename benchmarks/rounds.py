"""Interleaved rounds: floors and room take turns, so that a noisy machine treats all alike."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import fields

import orjson

from benchmarks import visitors
from benchmarks.floors import FLOORS
from benchmarks.load import Load, Measured
from benchmarks.machine import cores, on_core
from benchmarks.provider import ProviderProcess
from benchmarks.report import median
from benchmarks.room import RoomProcess

FLOOR_WITHIN = 300.0
"""Seconds for the loads of one floor."""
ROOM = "room"


async def interleaved(
    provider: ProviderProcess, room: RoomProcess, loads: Sequence[Load], rounds: int
) -> dict[str, list[Measured]]:
    """The medians of each load for every floor and for `room`, in the order of `loads`."""
    for load in loads[:1]:
        warm = Load(1, 10, load.tokens, 0)
        await visitors.measured(room, warm, "warming")
    found: dict[str, list[list[Measured]]] = {name: [] for name in (*FLOORS, ROOM)}
    for number in range(rounds):
        for floor in FLOORS:
            found[floor].append(await on_floor(floor, provider.url, loads))
        found[ROOM].append(
            [
                await visitors.measured(room, load, f"round-{number}-{index}")
                for index, load in enumerate(loads)
            ]
        )
    return {
        name: [medians(one) for one in zip(*results, strict=True)]
        for name, results in found.items()
    }


async def on_floor(floor: str, url: str, loads: Sequence[Load]) -> list[Measured]:
    """Run the loads on a floor, in a process on the core of what is measured."""
    texts = [f"{load.sessions},{load.turns},{load.tokens},{load.pace}" for load in loads]
    with on_core(cores()[1]):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.floors",
            floor,
            url,
            *texts,
            stdout=asyncio.subprocess.PIPE,
        )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), FLOOR_WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the floor {floor} failed")
    return [Measured(**orjson.loads(line)) for line in output.splitlines()]


def medians(results: Sequence[Measured]) -> Measured:
    """The median of every figure."""
    return Measured(
        **{
            field.name: median(getattr(one, field.name) for one in results)
            for field in fields(Measured)
        }
    )
