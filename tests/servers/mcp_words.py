"""A tool server of two tools about words; run as a program."""

from __future__ import annotations

from mcp.server import MCPServer

words = MCPServer("words", version="1")


@words.tool()
def count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


@words.tool()
def shout(text: str) -> str:
    """Say a text in capital letters."""
    return text.upper()


if __name__ == "__main__":
    words.run("stdio")
