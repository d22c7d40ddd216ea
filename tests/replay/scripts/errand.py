"""A router that calls tools itself, and has them done by whoever is quicker."""

from __future__ import annotations

from typing import Any

from actors.routing.steps import ToolResult
from actors.routing.turn import Turn


async def route(turn: Turn) -> Any:
    """Look two things up, let two race for the third, and report."""
    found = await turn.gather(
        turn.call("calc__add", {"a": 1, "b": [2.5, "Grüße 😀"]}),
        turn.call("files__delete", {"path": "old.txt"}),
        turn.call("nobody__knows", {}),
    )
    told = [
        one.text if isinstance(one, ToolResult) else f"{one.error}: {one.message}" for one in found
    ]
    racers = [turn.ask(p.id, instruction="\n".join(told)) for p in turn.participants[:2]]
    quick = await turn.first(*racers)
    slow = await turn.ask(turn.participants[2].id, see="now", tools=False, public=False)
    return f"{quick.step} {slow.step} {'; '.join(told)[:100]}"
