"""Runs a workflow where its framework wants to be: mostly in a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors.cluster import apart
from actors.frameworks.execution import Reply, Request, execute
from actors.frameworks.registry import framework
from actors.frameworks.remote import Runner, placement


async def run_apart(request: Request, home: Path) -> Reply:
    """Run it to its end.

    Its process is one of its own, under the interpreter that its framework needs, and killed where
    this is cancelled; raises `ActorGone` where that dies. A framework that needs none runs in this
    process, and is cancelled.
    """
    place = await asyncio.to_thread(_place, request["framework"], home)
    if place is None:
        return await execute(request)
    reply: Reply = await apart(Runner, request, place)
    return reply


def _place(name: str, home: Path) -> dict[str, object] | None:
    """The process of its own that the framework's runs have, if they have one."""
    chosen = framework(name)
    if not getattr(chosen, "apart", True):
        return None
    return placement(chosen.environment, home)
