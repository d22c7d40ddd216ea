"""A door of tools whose calls never end: an MCP server over HTTP that a test can kill.

Run as a program, it writes the port that it listens on, and the name of each tool that is called.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

WITHIN = 60.0  # seconds in which it starts, or is called


@dataclass(frozen=True)
class EndlessTools:
    """The server; `url` is its door."""

    process: Process
    url: str

    async def called(self) -> None:
        """Returns when a tool is called."""
        await _line(self.process)

    async def end(self, by: signal.Signals) -> None:
        """End it as somebody else would."""
        self.process.send_signal(by)
        await asyncio.wait_for(self.process.wait(), WITHIN)


@asynccontextmanager
async def endless_tools() -> AsyncIterator[EndlessTools]:
    """The server on a port of its own."""
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, stdout=PIPE)
    try:
        yield EndlessTools(process, f"http://127.0.0.1:{await _line(process)}/mcp")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), WITHIN)).decode().strip()


def main() -> None:
    """Serve two tools."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("endless", log_level="ERROR")

    async def never(name: str) -> str:
        print(name, flush=True)
        await asyncio.Event().wait()
        return name

    @server.tool(name="words__count")
    async def count(text: str) -> str:
        """Counts the words of a text."""
        return await never("words__count")

    @server.tool(name="words__shout")
    async def shout(text: str) -> str:
        """Says a text in capitals."""
        return await never("words__shout")

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        server.streamable_http_app(), log_level="critical", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
