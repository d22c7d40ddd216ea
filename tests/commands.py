"""The command line as processes, against a room of the test."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from actors.providers.config import ProviderSpec
from tests.rooms import LocalRoom

QUICK = ProviderSpec(id="rehearsal", type="rehearsal", config={"pace": 20, "stall_timeout": 0.3})
"""The built-in rehearsal, twenty times as fast."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(room: LocalRoom) -> dict[str, str]:
    # Whoever runs the tests in several processes tells them a width, and a pipe has none.
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {
        **inherited,
        "CONTROL_ROOM_HOME": str(room.settings.home),
        "CONTROL_ROOM_PORT": str(room.port),
        "PYTHONUNBUFFERED": "1",
    }


async def start(room: LocalRoom, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", *arguments),
        env=environment(room),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(room: LocalRoom, *arguments: str, typed: str = "") -> Done:
    process = await start(room, *arguments)
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
