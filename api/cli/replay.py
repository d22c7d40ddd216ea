"""`control-room replay`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from api.cli import room
from api.cli.room import AsJson, SessionArgument, Url

if TYPE_CHECKING:
    from api.client import RoomClient

EPILOG = room.epilog(
    {
        "control-room replay sess_abc123": "run every turn again and compare",
        "control-room replay sess_abc123 --json": "the same, for programs",
    },
    "0 where the replay is identical, 1 where it diverges or cannot be made, 2 for wrong use.",
)


def replay(session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Run a session again, and compare every event with the log.

    No model is asked: what came from outside is taken from the log, and everything that the room
    made of it is made again. Equal heads prove that nothing differs.
    """

    async def work(client: RoomClient) -> int:
        result = await client.replay(session)
        if as_json:
            room.print_json(result)
        else:
            console = room.console()
            for line in replay_lines(session, result):
                console.print(line, soft_wrap=True)
        return room.OK if result["identical"] else room.FAILED

    room.with_room(url, work)


def replay_lines(session: str, result: Any) -> list[str]:
    """What a replay found, line by line."""
    from api.terminal_text import safe, safe_line

    lines = [
        f"session  {safe_line(session)}",
        f"events   {result['events']}",
        f"head     {result['head']}",
    ]
    if result["identical"]:
        return [*lines, "replay   identical: every event was made again and is the same"]
    found = result.get("divergence") or {}
    lines.append(f"replay   diverged at position {found.get('position')}")
    if found.get("message"):
        lines.append(f"         {safe_line(found['message'])}")
    for name in ("expected", "actual"):
        text = json.dumps(found.get(name), indent=2, ensure_ascii=False)
        lines += [f"{name}:", *(f"  {line}" for line in safe(text).splitlines())]
    return lines
