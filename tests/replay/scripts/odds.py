"""What the lottery draws."""

from __future__ import annotations

PATIENCE = 20
"""Seconds."""


def pair(ids: list[str], number: int) -> list[str]:
    """Two of `ids`, by a recorded number."""
    first, rest = number % len(ids), number // len(ids)
    left = ids[:first] + ids[first + 1 :]
    return [ids[first], left[rest % len(left)]]
