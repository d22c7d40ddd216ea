"""Which tools a participant may use, as people write it and as a session keeps it."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from events.values import Value

ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:_?[A-Za-z0-9-])*$", max_length=32)]
"""A tool server's name: what stands before the `__` of the names that models are offered."""

_SHORT = re.compile(r"(?:mcp:)?(?P<server>[A-Za-z0-9_-]+?)(?:(?:__|:)(?P<tool>.+))?")


class ToolGrant(Value):
    """Tools of one server that a participant may use: those named, or all.

    With `approval`, a person grants or denies each call before it is made. A plain text is a
    server or one of its tools: `files`, `mcp:files`, `files:read_file` or `files__read_file`.
    """

    server: ServerName
    tools: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] | None = Field(
        default=None, max_length=1000, description="default: all that the server has"
    )
    approval: bool = Field(default=False, description="a person grants or denies each call")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        found = _SHORT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return {"server": value} if isinstance(value, str) else value
        tool = found["tool"]
        return {"server": found["server"], **({"tools": (tool,)} if tool else {})}

    def covers(self, tool: str) -> bool:
        """Whether that tool of the server is granted."""
        return self.tools is None or tool in self.tools
