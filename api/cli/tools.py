"""`control-room tools`: the tool servers, and what they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from api.client import RoomClient

EPILOG = room.epilog(
    {
        "control-room tools": "which servers there are, and their tools",
        "control-room tools --start 0": "the same, without starting those that do not run",
    },
    "0 where every server is up or was not to be started, 1 where one is not, 2 for wrong use.",
)
FIRST_LINE = 80
"""Characters of a description that are shown."""


def tools(
    start: Annotated[
        float,
        typer.Option(min=0, max=60, metavar="SECONDS", help="Wait so long for servers to start."),
    ] = 30,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the configured tool servers and their tools."""

    async def work(client: RoomClient) -> int:
        found = await client.tools(start=start)
        troubled = [one for one in found["servers"] if _trouble(one, started=start > 0)]
        if as_json:
            room.print_json(found)
            return room.FAILED if troubled else room.OK
        from api.cli.tables import row, table

        console = room.console()
        shown = table("server", "state", "MCP", "tool", "what it does")
        for server in found["servers"]:
            first = (server["server"], server["state"], server["protocol"] or "")
            for tool in server["tools"] or ({"name": "", "description": ""},):
                said = tool["description"].strip().split("\n")[0][:FIRST_LINE]
                row(shown, *first, tool["name"], said)
                first = ("", "", "")
        console.print(shown)
        for server in found["servers"]:
            for what in server["left_out"]:
                room.complain(f"left out of {server['server']}: {what}")
        for server in troubled:
            room.complain(_why(server))
        if not found["servers"]:
            room.complain("no tool server is configured: see docs/tools.md")
        return room.FAILED if troubled else room.OK

    room.with_room(url, work)


def _why(server: Mapping[str, Any]) -> str:
    """Why a server is not up, in a sentence."""
    needs = f"it needs {', '.join(server['missing'])}" if server["missing"] else None
    if why := server["problem"] or needs:
        return f"{server['server']} is not up: {why}"
    return f"{server['server']} is still starting: ask again in a moment"


def _trouble(server: dict[str, object], *, started: bool) -> bool:
    return server["state"] == "down" or (started and server["state"] != "up")
