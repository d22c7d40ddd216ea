"""Forgiving reading of what models write where JSON was asked for.

The same text is read the same way in every process: bounds are in the text, never in the stack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from events.config import Participant

MAX_DEPTH = 32
"""Objects nested deeper are not looked at."""

MAX_TRIES = 50
"""So many opening braces of a text are looked at."""

# Strings are passed over whole; a quote that opens none is not a token.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]]', re.DOTALL)


def first_object(text: str, having: str) -> dict[str, Any] | None:
    """The first JSON object in `text` with the key `having`; where none has it, the first at all.

    Whatever stands around it (a code fence, a sentence, another object) is passed over.
    """
    found: dict[str, Any] | None = None
    start = text.find("{")
    for _ in range(MAX_TRIES):
        if start == -1:
            break
        value = _object(text, start)
        if value is not None and having in value:
            return value
        found = value if found is None else found
        start = text.find("{", start + 1)
    return found


def _object(text: str, start: int) -> dict[str, Any] | None:
    """The JSON object that begins at `start`, or None."""
    end = _end(text, start)
    if end is None:
        return None
    try:
        value = orjson.loads(text[start:end])
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _end(text: str, start: int) -> int | None:
    """Where the brackets that open at `start` are all closed again."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] in ("{", "["):
            depth += 1
            if depth > MAX_DEPTH:
                return None
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth == 0:
                return token.end()
    return None


def named_participants(value: Any, participants: Sequence[Participant]) -> tuple[str, ...]:
    """The participants that `value` (a name, or a list of names) names, each once, in its order.

    A name is an id, a label, or a role that only one participant has, in any case; others are
    passed over.
    """
    known = _names(participants)
    found: dict[str, None] = {}
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, str):
            stripped = name.strip().strip("[]<>\"'`")
            id = known.get(stripped) or known.get(stripped.casefold())
            if id is not None:
                found[id] = None
    return tuple(found)


def _names(participants: Sequence[Participant]) -> dict[str, str]:
    """Ids by what they may be called; the stricter name wins over the looser."""
    roles = [p.role.casefold() for p in participants if p.role]
    known = {p.role.casefold(): p.id for p in participants if p.role}
    known = {role: id for role, id in known.items() if roles.count(role) == 1}
    known |= {p.label.casefold(): p.id for p in participants}
    known |= {p.id.casefold(): p.id for p in participants}
    known |= {p.id: p.id for p in participants}
    return known
