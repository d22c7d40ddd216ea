"""Texts with places for inputs: `{{topic}}`, or `{topic}` where that name is known.

Whatever else stands in braces (JSON, code) stays as it is, and a text that is filled in is never
read as a template itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from actors.frameworks.port import BadWorkflow

_PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def names_in(template: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """The names that have to be filled in, in order of their first place."""
    found = (match[1] or match[2] for match in _PLACE.finditer(template) if _meant(match, known))
    return tuple(dict.fromkeys(found))


def rendered(template: str, values: Mapping[str, Any], place: str) -> str:
    """The text with each value in its place: texts as they are, everything else as JSON.

    A `BadWorkflow` names the `place` where a value is not there.
    """

    def value(match: re.Match[str]) -> str:
        if not _meant(match, values):
            return match[0]
        name = match[1] or match[2]
        if name not in values:
            has = ", ".join(sorted(values)) or "none"
            raise BadWorkflow(f"{place}: there is no input {name!r}; there are {has}")
        return text_of(values[name])

    return _PLACE.sub(value, template)


def text_of(value: Any) -> str:
    """A value as text: a text as it is, anything else as JSON with its keys in order."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _meant(match: re.Match[str], known: Collection[str]) -> bool:
    """Two braces are always meant as a place, one pair only around a name that is known."""
    return match[1] is not None or match[2] in known
