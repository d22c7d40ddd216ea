"""A chat template for servers that take a text, and what can be read back from that text."""

from __future__ import annotations

from typing import Final

TEMPLATE: Final = (
    "{% for message in messages %}{{ message.role + ': ' + message.content + '\\n' }}{% endfor %}"
)


def texts_of(prompt: str) -> tuple[tuple[str, str], ...]:
    """Role and text of each message that `TEMPLATE` has made the prompt of."""
    lines = [line.partition(": ") for line in prompt.splitlines()]
    return tuple((role, text) for role, _, text in lines)
