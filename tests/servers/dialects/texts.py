"""Servers that take and give a text: a template for them, and what can be read back from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from actors.providers.port import Tool
from events.values import ToolCall
from tests.servers.dialects.dialect import KEY, Feature, Round

TEMPLATE: Final = (
    "{% for message in messages %}{{ message.role + ': ' + message.content + '\\n' }}{% endfor %}"
)


def texts_of(prompt: str) -> tuple[tuple[str, str], ...]:
    """Role and text of each message that `TEMPLATE` has made the prompt of."""
    lines = [line.partition(": ") for line in prompt.splitlines()]
    return tuple((role, text) for role, _, text in lines)


TEXT: Final = "text is all that it takes and gives"
TEXT_ALONE: Final[Mapping[Feature, str]] = {
    "reasoning": "it is a part of the text",
    "tools": TEXT,
    "images": TEXT,
}


class TextDialect:
    """What the dialects of such servers have in common; a part of `...dialect.Dialect`."""

    def thought(self, text: str) -> bytes:
        raise AssertionError("it has none")

    def calls(self, *calls: ToolCall) -> list[bytes]:
        raise AssertionError("it has none")

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {KEY}"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        raise AssertionError("it has none")

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        raise AssertionError("it has none")

    def may_call(self, body: dict[str, Any]) -> bool:
        return False
