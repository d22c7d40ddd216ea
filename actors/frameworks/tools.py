"""Tools as the MCP door lists them, which of them an agent has, and what is read from a result."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.frameworks.port import BadWorkflow, WorkflowFailed, leaves, said

_NAMED = re.compile(r"(?:mcp:)?([A-Za-z0-9_-]+?)(?:(?:__|:)(.+))?")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool at the door; `parameters` is a JSON schema.

    `call` takes its arguments and gives the text of its result. An error of the tool is such a
    text, too, which a model can act on; a door that does not answer raises.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Mapping[str, Any]], Awaitable[str]]


def check_tool(place: str, wanted: str) -> None:
    """Raise `BadWorkflow` where that cannot name a tool or a server."""
    if not _NAMED.fullmatch(wanted):
        raise BadWorkflow(
            f"{place}: {wanted!r} names no tool; write `mcp:server`, `server:tool` or"
            " `server__tool`"
        )


def chosen(tools: Sequence[Tool], wanted: Iterable[str], place: str) -> tuple[Tool, ...]:
    """The tools that are meant, by name: `server` or `mcp:server` (all of it), `server:tool`.

    A `BadWorkflow` says what the door has where it has nothing of the kind.
    """
    found: dict[str, Tool] = {}
    for each in wanted:
        check_tool(place, each)
        match = _NAMED.fullmatch(each)
        assert match is not None
        server, tool = match[1], match[2]
        of_server = [one for one in tools if one.name.startswith(f"{server}__")]
        meant = [one for one in of_server if tool is None or one.name == f"{server}__{tool}"]
        if not meant:
            has = ", ".join(one.name for one in of_server or tools) or "no tools"
            raise BadWorkflow(f"{place}: the door has no tools of {each!r}; it has {has}")
        found |= {one.name: one for one in meant}
    return tuple(found[name] for name in sorted(found))


def result_text(result: Mapping[str, Any]) -> str:
    """What a model is shown of a tool's result (the JSON of `tools/call`)."""
    parts = [_block_text(block) for block in result.get("content") or ()]
    text = "\n".join(part for part in parts if part)
    if not text and result.get("structuredContent") is not None:
        text = json.dumps(result["structuredContent"], ensure_ascii=False, sort_keys=True)
    if result.get("isError"):
        return f"Error: {text or 'the tool gave no reason'}"
    return text


def unreachable(url: str, error: BaseException) -> WorkflowFailed:
    """What is said where the door of the tools cannot be opened."""
    why = said(next(leaves(error)))
    return WorkflowFailed(f"the tools of the room at {url} cannot be listed: {why}")


def gone(url: str, error: BaseException) -> WorkflowFailed:
    """What is said where the door of the tools was open, and is lost."""
    return WorkflowFailed(f"the tools of the room at {url} are gone: {said(next(leaves(error)))}")


def uncalled(name: str, error: Exception) -> WorkflowFailed:
    """What is said where nobody knows what came of a call."""
    return WorkflowFailed(f"the tool {name!r} could not be called: {said(error)}")


def _block_text(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource":
        return str((block.get("resource") or {}).get("text", ""))
    if kind == "resource_link":
        return str(block.get("uri", ""))
    return f"[{kind}]"
