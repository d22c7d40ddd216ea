"""A tool server on the `mcp` library itself: MCP 2026-07-28, over stdio, or HTTP at a given port.

Run as a program with a folder, into which it writes what it was told, and the port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from pydantic import BaseModel

FOLDER = Path(sys.argv[1])
server = MCPServer("modern", version="1")


class Colour(BaseModel):
    """What is asked of the person."""

    colour: str


def note(name: str, text: str) -> None:
    with (FOLDER / name).open("a") as file:
        file.write(f"{text}\n")


async def colour(thing: str) -> Elicit[Colour]:
    return Elicit(f"Which colour has the {thing}?", Colour)


@server.tool()
async def paint(thing: str, wanted: Annotated[Colour, Resolve(colour)]) -> str:
    """Paint a thing in the colour that the person wants."""
    note("painted", thing)
    return f"the {thing} is {wanted.colour}"


@server.tool()
async def wait() -> str:
    """Wait until it is cancelled."""
    note("called", "wait")
    try:
        await anyio.sleep(600)
    finally:
        note("cancelled", "wait")
    return "over"


@server.tool()
async def big(size: int) -> str:
    """So many bytes."""
    return "x" * size


@server.tool()
async def more(context: Context) -> str:
    """Have a further tool from now on."""

    def extra() -> str:
        """Be there."""
        return "extra is done"

    server.add_tool(extra)
    await context.notify_tools_changed()
    return "there is more"


if __name__ == "__main__":
    if len(sys.argv) > 2:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run()
