"""Forgiving reading of what models write where JSON was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from events.config import Participant


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in `text`, whatever stands around it (a code fence, a sentence)."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    tries = 0
    while start != -1 and tries < 100:
        tries += 1
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
        start = text.find("{", start + 1)
    return None


def named_participants(value: Any, participants: Sequence[Participant]) -> tuple[str, ...]:
    """The participants that `value` (a name, or a list of names) names, each once, in its order.

    A name is an id, or a role that only one participant has, in any case; others are passed over.
    """
    names = value if isinstance(value, list) else [value]
    roles = [p.role.casefold() for p in participants if p.role]
    known = {p.role.casefold(): p.id for p in participants if p.role}
    known = {role: id for role, id in known.items() if roles.count(role) == 1}
    known |= {p.label.casefold(): p.id for p in participants}
    known |= {p.id.casefold(): p.id for p in participants}
    known |= {p.id: p.id for p in participants}
    found: dict[str, None] = {}
    for name in names:
        if isinstance(name, str):
            stripped = name.strip().strip("[]<>\"'`")
            id = known.get(stripped) or known.get(stripped.casefold())
            if id is not None:
                found[id] = None
    return tuple(found)
