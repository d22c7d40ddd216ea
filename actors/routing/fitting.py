"""Whether a call's arguments can fit the schema that its model was shown: a pure, bounded look.

It is for calls about which a person would be asked, and belongs to the engine's version, for it
decides what a turn does. It knows the plain keywords of JSON schema that mean the same in every
draft from 6 on. What it finds wrong is wrong; what it does not understand, or would take long to
say, passes: the tool server's actor checks in full before the call is made. No word of it is a
library's, because a replay says the same again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson

LONGEST = 256 * 1024
"""Characters of arguments that are looked at."""
STEPS = 20_000
"""Comparisons, at most."""
DEEPEST = 64
"""Schemas within schemas that are followed."""
TOLD = 3
"""Faults, or alternatives, that are told."""
SHOWN = 100
"""Characters of a text that are told."""
LISTED = 20
"""Items of a list that are told."""


def unfit(text: str, schema: Any) -> str | None:
    """Why the arguments in `text` cannot fit, for a model to mend; None where they may."""
    if len(text) > LONGEST or not isinstance(schema, dict) or _old(schema):
        return None
    try:
        arguments = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError:
        return "the arguments are not JSON"
    if not isinstance(arguments, dict):
        return "the arguments have to be a JSON object"
    faults = tuple(islice(_known(_Look(schema).faults(schema, arguments)), TOLD))
    return f"the arguments do not fit: {'; '.join(faults)}" if faults else None


def _known(faults: Iterator[str]) -> Iterator[str]:
    """Those that are found before it takes too long: they are wrong all the same."""
    with suppress(_TooLong):
        yield from faults


@lru_cache(maxsize=4)  # calls at once are mostly of the same list
def schemas(listed: str) -> Mapping[str, Any]:
    """The schemas in a list of tools as models are offered it, by the tools' names."""
    return {tool["name"]: tool.get("parameters") for tool in orjson.loads(listed)}


def _old(schema: dict[str, Any]) -> bool:
    return any(draft in str(schema.get("$schema", ""))[:100] for draft in ("draft-03", "draft-04"))


class _TooLong(Exception):
    """It takes too long to say."""


class _Look:
    """One look at arguments, bounded by its steps."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._left = STEPS

    def faults(self, schema: Any, value: Any, where: str = "", depth: int = 0) -> Iterator[str]:
        """What is wrong with the value that stands at `where`, one fault after the other."""
        self._spend(1)
        if depth > DEEPEST:
            raise _TooLong
        if schema is False:
            yield f"{_at(where)}nothing may stand there"
        if not isinstance(schema, dict) or (depth and "$id" in schema):
            return  # references would begin there
        if "$ref" in schema:  # what stands beside it counts in some drafts only
            yield from self.faults(self._definition(schema["$ref"]), value, where, depth + 1)
            return
        yield from self._plain(schema, value, where)
        yield from self._parts(schema, value, where, depth)
        for one in _listed(schema.get("allOf")):
            yield from self.faults(one, value, where, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            yield from self._alternatives(_listed(schema.get(keyword)), value, where, depth)

    def _plain(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        """Faults of the value itself."""
        wanted = schema.get("type")
        types = [wanted] if isinstance(wanted, str) else _listed(wanted)
        known = [_TYPES[one] for one in types if isinstance(one, str) and one in _TYPES]
        if known and len(known) == len(types) and not any(fits(value) for fits in known):
            yield f"{_at(where)}{_shown(value)} is not of type {' or '.join(types)}"
            return
        choices = [schema["const"]] if "const" in schema else _listed(schema.get("enum"))
        self._spend(len(choices))
        if choices and not any(_may_be(value, one) for one in choices):
            yield f"{_at(where)}{_shown(value)} is none of {_shown(choices)}"
        for keyword, (kind, breached) in _BOUNDS.items():
            limit = schema.get(keyword)
            if _TYPES["number"](limit) and _TYPES[kind](value) and breached(value, limit):
                yield f"{_at(where)}{_shown(value)} does not keep to {keyword} {limit}"

    def _parts(self, schema: dict[str, Any], value: Any, where: str, depth: int) -> Iterator[str]:
        """Faults of what an object or a list holds."""
        items = schema.get("items")
        if isinstance(value, list) and _says(items) and "prefixItems" not in schema:
            for n, one in enumerate(value):
                yield from self.faults(items, one, f"{where}[{n}]", depth + 1)
        if not isinstance(value, dict):
            return
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        known = known if isinstance(known, dict) else {}
        required = _listed(schema.get("required"))
        self._spend(len(required))
        for name in required:
            if isinstance(name, str) and name not in value:
                yield f"{_at(where)}{_shown(name)} is missing"
        for name, one in value.items():
            inside = f"{where}.{name[:SHOWN]}" if where else name[:SHOWN]
            if name in known:
                yield from self.faults(known[name], one, inside, depth + 1)
            elif "patternProperties" in schema or not _says(rest):
                continue
            elif rest is False:
                yield f"{_at(where)}there is no {_shown(name)}, only {_shown([*known])}"
            else:
                yield from self.faults(rest, one, inside, depth + 1)

    def _alternatives(
        self, schemas: list[Any], value: Any, where: str, depth: int
    ) -> Iterator[str]:
        """One fault, where the value fits none of them."""
        told: list[str] = []
        for one in schemas:
            fault = next(self.faults(one, value, where, depth + 1), None)
            if fault is None:
                return
            told.append(fault)
        if told:
            yield ", and ".join(told[:TOLD])

    def _definition(self, reference: Any) -> Any:
        """What a reference leads to within the schema; True, which everything fits, elsewhere."""
        start, _, name = str(reference).rpartition("/")
        among = {"#/$defs": "$defs", "#/definitions": "definitions"}.get(start)
        if among is None or "%" in name or "~" in name:
            return True
        found = self._root.get(among)
        return found.get(name, True) if isinstance(found, dict) else True

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooLong


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: _TYPES["number"](value) and value == value // 1,
}

_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("number", lambda value, limit: value < limit),
    "maximum": ("number", lambda value, limit: value > limit),
    "minLength": ("string", lambda value, limit: len(value) < limit),
    "maxLength": ("string", lambda value, limit: len(value) > limit),
    "minItems": ("array", lambda value, limit: len(value) < limit),
    "maxItems": ("array", lambda value, limit: len(value) > limit),
}


def _says(schema: Any) -> bool:
    """Whether anything is said against any value."""
    return schema is False or isinstance(schema, dict)


def _may_be(value: Any, choice: Any) -> bool:
    """Whether the value may be meant; what lists and objects hold is not compared."""
    if isinstance(choice, list | dict):
        return isinstance(value, type(choice))
    return isinstance(value, bool) is isinstance(choice, bool) and bool(value == choice)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _shown(value: Any, within: bool = False) -> str:
    """The beginning of a value, as JSON."""
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, list):
        some = [_shown(one, within=True) for one in ([] if within else value[:LISTED])]
        return f"[{', '.join([*some, '...'] if len(some) < len(value) else some)}]"
    return json.dumps(value[:SHOWN] if isinstance(value, str) else value, ensure_ascii=False)
