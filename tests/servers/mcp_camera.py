"""A tool server that takes pictures: `snap` gives one, `sketch` one that no model is shown.

Made with the library that tool servers are made with; run as a program.
"""

from __future__ import annotations

from mcp.server import MCPServer
from mcp.server.mcpserver import Image

PICTURE = b"\x89PNG\r\n\x1a\n0000"

camera = MCPServer("camera", version="1")


@camera.tool()
def snap() -> list[str | Image]:
    """Takes a picture."""
    return ["a cat", Image(data=PICTURE, format="png")]


@camera.tool()
def sketch() -> Image:
    """Draws a picture."""
    return Image(data=b"<svg/>", format="svg+xml")


if __name__ == "__main__":
    camera.run("stdio")
