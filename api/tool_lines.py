"""What happens with calls of tools, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHORT = 200
"""Characters of arguments and results."""


def tool_line(kind: str, step: str | None, data: Mapping[str, Any]) -> str:
    """An event of a tool, an approval or an elicitation, without its type."""
    name = name_of(step)
    match kind:
        case "tool.called":
            return f"{wanted(data)} at {data['server']}"
        case "tool.refused":
            return f"{wanted(data)} is refused: {data['reason']}"
        case "tool.returned":
            return f"{name}{' could not' if data['is_error'] else ''}: {short(data['text'])}"
        case "tool.failed":
            return f"{name} failed: {data['message']}"
        case "approval.requested":
            return f"{wanted(data)} waits for a person"
        case "elicitation.requested":
            return f"{name} asks: {data['message']}"
        case "elicitation.answered":
            content = f": {data['content']}" if data.get("content") else ""
            return f"{name}: {data['action']}{content}"
        case _:
            reason = str(data.get("reason", "")).replace("_", " ")
            return f"{name}{f': {reason}' if reason else ''}"


def wanted(data: Mapping[str, Any]) -> str:
    """Who wants to call what."""
    use = data["use"]
    call = f"{use['name']}({short(use['arguments'])})"
    return f"{use['participant']} → {call}" if use.get("participant") else call


def name_of(step: str | None) -> str:
    """The tool that a step calls, as its key has it."""
    parts = (step or "").split(":")
    return parts[1] if len(parts) == 3 else step or ""


def short(text: str | Mapping[str, Any] | None) -> str:
    """A text, cut where it is long."""
    if text is None:
        return ""
    if not isinstance(text, str):
        return f"({text['size']} bytes)"
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT]}…"
