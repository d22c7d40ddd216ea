"""What is taken of a server's list of tools: so much of each, and of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import mcp_types as types
import orjson

from events.canonical import canonical_json

Tools = tuple[types.Tool, ...]

LONGEST_NAME: Final = 256  # characters, as in a grant
LONGEST_DESCRIPTION: Final = 16 * 1024  # bytes
LONGEST_SCHEMA: Final = 32 * 1024  # bytes of JSON, of its arguments and of its result each
LONGEST_LIST: Final = 1024 * 1024  # bytes of JSON
MOST_TOOLS: Final = 1000
_KEPT: Final = {"name", "title", "description", "input_schema", "output_schema", "annotations"}
_TOLD: Final = 20
"""Tools that are left out of which each is told."""


class Bound:
    """Takes tools as long as there is room; one that is too long itself is left out.

    Every request of a model that may use them holds them, and so does the log.
    """

    def __init__(self) -> None:
        self.full = False
        """Whether nothing more is taken."""
        self._taken: list[types.Tool] = []
        self._told: list[str] = []
        self._untold = 0
        self._size = 0

    @property
    def tools(self) -> Tools:
        """What was taken."""
        return tuple(self._taken)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was not, and why, in words."""
        more = (f"and {self._untold} more",) if self._untold else ()
        return (*self._told, *more)

    def take(self, tools: Iterable[types.Tool]) -> None:
        """The next tools of the list."""
        for tool in tools:
            name = f"{tool.name[:100]!r}"
            if why := _hindrance(tool):
                self.leave_out(f"{name}: {why}")
            elif (size := _size(_tree(tool))) is None:
                self.leave_out(f"{name}: what is said of it is no JSON")
            elif why := self._lack(size):
                self.full = True
                self.leave_out(f"{name} and what follows it: {why}")
                return
            else:
                self._size += size
                self._taken.append(tool)

    def leave_out(self, what: str) -> None:
        """That is not taken."""
        if len(self._told) < _TOLD:
            self._told.append(what)
        else:
            self._untold += 1

    def _lack(self, size: int) -> str:
        if len(self._taken) == MOST_TOOLS:
            return f"there are more than {MOST_TOOLS} tools"
        if self._size + size > LONGEST_LIST:
            return f"the list has more than {LONGEST_LIST} bytes"
        return ""


def _hindrance(tool: types.Tool) -> str:
    if len(tool.name) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME} characters"
    described = len((tool.description or "").encode("utf-8", "surrogatepass"))
    if described > LONGEST_DESCRIPTION:
        return f"its description has {described} bytes, more than {LONGEST_DESCRIPTION}"
    for schema in (tool.input_schema, tool.output_schema):
        size = 0 if schema is None else _size(schema)
        if size is None:
            return "its schema is no JSON"
        if size > LONGEST_SCHEMA:
            return f"its schema has {size} bytes, more than {LONGEST_SCHEMA}"
    return ""


def _tree(tool: types.Tool) -> dict[str, Any]:
    return tool.model_dump(by_alias=True, exclude_none=True, include=_KEPT)


def _size(tree: Any) -> int | None:
    """Bytes of its JSON; None where it has none."""
    try:
        return len(orjson.dumps(tree))
    except (TypeError, ValueError, RecursionError):  # such as an integer that is long
        try:
            return len(canonical_json(tree))
        except (TypeError, ValueError, RecursionError):
            return None
