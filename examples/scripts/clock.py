"""What time it is, looked up before anybody is asked.

Needs a tool server `time`, such as `mcp-server-time`, and at least one participant that may use its
tool `get_current_time`:

    {"routing_pattern": "script", "script": "clock:route", "models": [
        {"id": "planner", ..., "tools": ["time:get_current_time"]}]}
"""

from __future__ import annotations

from actors.routing.steps import Answer, Failure
from actors.routing.turn import Turn

TOOL = "time__get_current_time"


async def route(turn: Turn) -> Answer | Failure:
    """Call the tool, and ask the first participant with what it gave."""
    now = await turn.call(TOOL, {"timezone": "UTC"})
    if isinstance(now, Failure):
        said = f"Nobody could say what time it is: {now.message}"
    else:
        said = f"The time is now: {now.text}"
    return await turn.ask(turn.participants[0].id, instruction=said)
