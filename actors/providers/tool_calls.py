"""Tool calls in OpenAI's form: whole, or in parts that come one after the other."""

from __future__ import annotations

from typing import Any

from actors.providers.assembly import text_of
from events.values import ToolCall


class ToolCalls:
    """The calls of one answer so far."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}
        self._extra: dict[int, Any] = {}

    def take(self, parts: list[dict[str, Any]]) -> int:
        """Add these parts, and say how many characters they bring."""
        size = 0
        for position, part in enumerate(parts):
            index = part.get("index")
            index = position if index is None else int(index)
            call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            if extra := part.get("extra_content"):
                self._extra[index] = extra
            function = part.get("function") or {}
            if id := part.get("id"):
                call["id"] = text_of(id)
            if name := function.get("name"):
                call["name"] += text_of(name)
            if arguments := function.get("arguments"):
                call["arguments"] += text_of(arguments)
                size += len(arguments)
        return size

    @property
    def extra(self) -> list[Any]:
        """What the server put beside each call, such as a signature; empty where there is none."""
        return [self._extra.get(index) for index in sorted(self._calls)] if self._extra else []

    def complete(self) -> tuple[ToolCall, ...]:
        """The calls, in order."""
        return tuple(
            ToolCall(
                id=call["id"] or f"call_{index}",
                name=call["name"],
                arguments=call["arguments"] or "{}",
            )
            for index, call in sorted(self._calls.items())
        )
