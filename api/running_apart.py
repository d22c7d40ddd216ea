"""Runs a workflow in a process of its own, under the interpreter that its framework needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors.cluster import apart
from actors.frameworks.execution import Reply, Request
from actors.frameworks.registry import framework
from actors.frameworks.remote import Runner, placement


async def run_apart(request: Request, home: Path) -> Reply:
    """Run it to its end. Cancelled, its process is killed; raises `ActorGone` where that dies."""
    place = await asyncio.to_thread(_place, request["framework"], home)
    reply: Reply = await apart(Runner, request, place)
    return reply


def _place(name: str, home: Path) -> dict[str, object]:
    return placement(framework(name).environment, home)
