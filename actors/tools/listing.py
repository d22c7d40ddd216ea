"""What a tool server's actor says of itself: whether it is up, and which tools it has."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, TypeAdapter

from events.grants import ServerName
from events.values import Blob, Value

TOOLS: Final = "room.tools"
"""Subject at which every actor of a tool server says what it has, whenever that is another."""
WHO: Final = "room.tools.who"
"""Asks all of them to say it now."""


class ListedTool(Value):
    """A tool as its server lists it; `parameters` is the JSON schema of its arguments."""

    name: str
    title: str | None = None
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    output: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None


class Listing(Value):
    """One server as its actor sees it. `tools` is the JSON list of its tools, None if never seen.

    `problem` tells why it is not up, `left_out` which tools are not taken of it, and why.
    """

    server: ServerName
    up: bool
    problem: str = ""
    protocol: str | None = None
    implementation: str | None = None
    calls: int = 0
    tools: Blob | None = None
    left_out: tuple[str, ...] = ()


LISTED: TypeAdapter[tuple[ListedTool, ...]] = TypeAdapter(tuple[ListedTool, ...])
