"""A tool server of the room's examples: notes that are kept while it runs."""

from __future__ import annotations

from mcp.server import MCPServer

notes = MCPServer("notes", version="1")
_kept: list[str] = []


@notes.tool()
def add(text: str) -> str:
    """Keep a note."""
    _kept.append(text)
    return f"note {len(_kept)}: {text}"


@notes.tool()
def read() -> str:
    """All notes that are kept."""
    return "\n".join(_kept) or "no notes"


if __name__ == "__main__":
    notes.run("stdio")
