"""Values that satisfy a JSON schema, drawn by chance.

They are what a rehearsing model answers where a form is asked for, and what it puts into the
arguments of a tool.

Understood are types, `enum`, `const`, `properties`, `required`, `items`, `prefixItems`, bounds of
numbers, lengths and counts, `uniqueItems`, `multipleOf`, the usual formats, `anyOf`, `oneOf`,
`allOf`, and references within the schema. `pattern`, `not` and conditions are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Schema = Mapping[str, Any]
Words = Callable[[str, list[str]], str]
"""Makes the text of a string: from its property's name, and the names chosen so far."""

DEEPEST = 6  # levels; beyond that everything is left as empty as the schema allows
LONGEST_ARRAY = 4  # entries, where the schema does not ask for more

_FORMATS = {
    "date": "2026-01-31",
    "time": "09:30:00Z",
    "date-time": "2026-01-31T09:30:00Z",
    "duration": "PT1H",
    "email": "rehearsal@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/rehearsal",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class Composer:
    """Draws values for one schema."""

    def __init__(self, schema: Schema, chance: Random, words: Words) -> None:
        self._root = schema
        self._chance = chance
        self._words = words
        self._chosen: list[str] = []

    def compose(self) -> Any:
        """A value that satisfies the schema, as far as the module says."""
        return self._value(self._root, "", 0)

    def _value(self, schema: Any, name: str, depth: int) -> Any:
        schema = self._settled(schema, depth)
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            option = self._chance.choice(options)
            if isinstance(option, str):
                self._chosen.append(option)
            return option
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = (
                "null"
                if depth > DEEPEST and "null" in kind
                else next((each for each in kind if each != "null"), "null")
            )
        value: Any = None
        match kind or _implied(schema):
            case "object":
                value = self._object(schema, depth)
            case "array":
                value = self._array(schema, name, depth)
            case "integer":
                value = int(self._number(schema, whole=True))
            case "number":
                value = self._number(schema, whole=False)
            case "boolean":
                value = self._chance.random() < 0.5
            case "string":
                value = self._string(schema, name)
        return value

    def _settled(self, schema: Any, depth: int) -> dict[str, Any]:
        """The schema with its references followed and one of its alternatives taken."""
        settled: dict[str, Any] = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(DEEPEST if depth < 4 * DEEPEST else 0):
            if reference := settled.pop("$ref", None):
                settled = {**self._referred(reference), **settled}
            elif parts := settled.pop("allOf", None):
                for part in parts:
                    settled = _joined(settled, self._settled(part, depth + 1))
            elif options := settled.pop("anyOf", None) or settled.pop("oneOf", None):
                # Beyond a depth the plainest alternative ends the recursion.
                chosen = min(options, key=_is_nested) if depth > DEEPEST else options[0]
                settled = _joined(settled, dict(chosen))
            else:
                break
        return settled

    def _referred(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for step in reference.lstrip("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if key and isinstance(found, Mapping) else found
        return dict(found) if isinstance(found, Mapping) else {}

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or []
        names = [*properties, *(name for name in required if name not in properties)]
        if depth > DEEPEST:
            names = list(required) if depth < 2 * DEEPEST else []
        return {name: self._value(properties.get(name, {}), name, depth + 1) for name in names}

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        fixed = [self._value(each, name, depth + 1) for each in schema.get("prefixItems") or []]
        items = self._settled(schema.get("items") or {}, depth)
        least = max(schema.get("minItems", 1), len(fixed))
        most = max(least, min(schema.get("maxItems", LONGEST_ARRAY), max(least, LONGEST_ARRAY)))
        if depth > DEEPEST:
            most = least = schema.get("minItems", 0)
        options = items.get("enum")
        if options and not fixed:
            # A choice from a list names each once, in the list's order.
            available = min(most, len(options))
            count = self._chance.randint(min(max(least, 2), available), available)
            picked = sorted(self._chance.sample(range(len(options)), count))
            drawn = [options[n] for n in picked]
            drawn += [self._chance.choice(options) for _ in range(least - count)]
            self._chosen.extend(value for value in drawn if isinstance(value, str))
            return drawn
        values = list(fixed)
        count = self._chance.randint(least, most)
        for _ in range(count * 8):
            if len(values) >= count:
                break
            value = self._value(items, name, depth + 1)
            if not schema.get("uniqueItems") or value not in values:
                values.append(value)
        return values

    def _number(self, schema: dict[str, Any], *, whole: bool) -> float:
        low, high = schema.get("minimum"), schema.get("maximum")
        step = schema.get("multipleOf") or (1 if whole else 0.5)
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        least = math.ceil(low / step) if low is not None else None
        if above is not None:
            least = max(math.floor(above / step) + 1, least if least is not None else -math.inf)
        most = math.floor(high / step) if high is not None else None
        if below is not None:
            most = min(math.ceil(below / step) - 1, most if most is not None else math.inf)
        if least is None:
            least = min(1, most) if most is not None else 1
        if most is None:
            most = least + 9
        if most < least:  # bounds closer than the step
            return float(low if low is not None else ((above or 0) + (below or 0)) / 2)
        return self._chance.randint(int(least), int(most)) * step

    def _string(self, schema: dict[str, Any], name: str) -> str:
        text = _FORMATS.get(schema.get("format", "")) or self._words(name, self._chosen)
        longest, least = schema.get("maxLength"), schema.get("minLength", 0)
        if longest is not None:
            text = text[:longest]
        while len(text) < least:
            text = f"{text} rehearsed" if text else "rehearsed"
            text = text[:longest] if longest is not None else text
        return text


def _implied(schema: Schema) -> str:
    """The type of a schema that does not say it."""
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema:
        return "number"
    return "string"


def _is_nested(schema: Schema) -> bool:
    return not {"$ref", "properties", "items", "allOf", "anyOf", "oneOf"}.isdisjoint(schema)


def _joined(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    joined = {**one, **two}
    if "properties" in one and "properties" in two:
        joined["properties"] = {**one["properties"], **two["properties"]}
    if "required" in one and "required" in two:
        joined["required"] = list(dict.fromkeys([*one["required"], *two["required"]]))
    return joined
