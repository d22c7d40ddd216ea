"""The forms that tools show to people: flat, and checked by hand in bounded time.

MCP allows an object of texts, numbers, booleans and choices. What a server sends is not trusted,
and is looked at where nothing may wait: nothing here follows references or runs patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MOST_QUESTIONS: Final = 16
"""Questions of one call that are put to the person, one after the other."""
MOST_FIELDS: Final = 100
MOST_CHOICES: Final = 1000
_FAULTS: Final = 3
"""Faults that are told at once."""

_FORM = {"$schema", "$id", "additionalProperties", "properties", "required", "type"}
_WORDS = {"title", "description", "default", "examples", "deprecated", "readOnly", "$comment"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_FIELDS: Final = {
    "string": {"enum", "const", "enumNames", "oneOf", "format", "minLength", "maxLength"},
    "number": _BOUNDS | {"format"},
    "integer": _BOUNDS | {"format"},
    "boolean": set(),
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
}
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems")


def unfit(form: dict[str, Any]) -> str | None:
    """Why such a form is not shown; None where it is one of those that MCP allows."""
    if further := form.keys() - _FORM - _WORDS:
        return f"{min(further)[:100]!r} does not belong into a form"
    if form.get("type", "object") != "object":
        return "a form is an object"
    if form.get("additionalProperties") not in (None, True, False):
        return "what else the answer has cannot be described"
    fields, required = form.get("properties", {}), form.get("required", [])
    if not isinstance(fields, dict) or not _texts(required):
        return "'properties' has to be an object, and 'required' a list of names"
    if max(len(fields), len(required)) > MOST_FIELDS:
        return f"it has more than {MOST_FIELDS} fields"
    for name, field in fields.items():
        if (fault := _unfit_field(field)) is not None:
            return f"field {name[:100]!r}: {fault}"
    return None


def faults(form: dict[str, Any], content: dict[str, Any]) -> tuple[str, ...]:
    """What is wrong with an answer to the form, a few at most; `form` is not `unfit`."""
    found: list[str] = []
    for fault in _faults(form, content):
        found.append(fault)
        if len(found) == _FAULTS:
            break
    return tuple(found)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unfit_field(field: Any) -> str | None:
    kind = field.get("type") if isinstance(field, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        return f"its type has to be one of {', '.join(_FIELDS)}"
    if further := field.keys() - _FIELDS[kind] - _WORDS - {"type"}:
        return f"{min(further)[:100]!r} does not belong into a form"
    for name in _COUNTS:
        if name in field and (not isinstance(field[name], int) or field[name] < 0):
            return f"{name!r} has to be a number of 0 or more"
    for name in _BOUNDS:
        if name in field and not _number(field[name]):
            return f"{name!r} has to be a number"
    return _unfit_items(field.get("items")) if kind == "array" else _unfit_choices(field, "oneOf")


def _unfit_items(items: Any) -> str | None:
    if not isinstance(items, dict) or items.keys() - {"type", "enum", "anyOf", "oneOf"} - _WORDS:
        return "'items' has to be a list of choices"
    fault = _unfit_choices(items, "anyOf") or _unfit_choices(items, "oneOf")
    if fault is None and (items.get("type", "string") != "string" or _choices(items) is None):
        return "'items' has to be a list of choices"
    return fault


def _unfit_choices(field: dict[str, Any], titled: str) -> str | None:
    if "enum" in field and not _texts(field["enum"]):
        return "'enum' has to be a list of texts"
    if "const" in field and not isinstance(field["const"], str):
        return "'const' has to be a text"
    choices = field.get(titled, [])
    if not isinstance(choices, list) or not all(
        isinstance(each, dict)
        and isinstance(each.get("const"), str)
        and not each.keys() - {"const", "type"} - _WORDS
        for each in choices
    ):
        return f"{titled!r} has to be a list of choices, each with its 'const'"
    if max(len(choices), len(field.get("enum", ()))) > MOST_CHOICES:
        return f"it has more than {MOST_CHOICES} choices"
    return None


def _choices(field: dict[str, Any]) -> list[str] | None:
    """What may be chosen; None where it is not a choice."""
    for titled in ("oneOf", "anyOf"):
        if titled in field:
            return [each["const"] for each in field[titled]]
    if "const" in field:
        return [field["const"]]
    enum: list[str] | None = field.get("enum")
    return enum


def _faults(form: dict[str, Any], content: dict[str, Any]) -> Iterator[str]:
    fields = form.get("properties", {})
    for name in form.get("required", []):
        if name not in content:
            yield f"{name!r} is a required property"
    for name, value in content.items():
        if name in fields:
            for fault in _field_faults(fields[name], value):
                yield f"{name}: {fault}"
        elif form.get("additionalProperties") is False:
            yield f"{name[:100]!r} is not asked for"


def _field_faults(field: dict[str, Any], value: Any) -> Iterator[str]:
    kind = field["type"]
    if not _is(kind, value):
        yield f"{repr(value)[:100]} is not of type {kind!r}"
    elif kind == "string":
        yield from _not_chosen(field, value)
        yield from _too_few_or_many(field, len(value), "Length", "characters")
    elif kind == "array":
        for each in value[:MOST_CHOICES]:
            yield from _not_chosen(field["items"], each)
        yield from _too_few_or_many(field, len(value), "Items", "choices")
        if field.get("uniqueItems") is True and len(set(map(str, value))) < len(value):
            yield "a choice is there twice"
    elif kind != "boolean":
        yield from _out_of_bounds(field, value)


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "integer":
            return _number(value) and value == value // 1
        case _:
            return _number(value)


def _not_chosen(field: dict[str, Any], value: Any) -> Iterator[str]:
    choices = _choices(field)
    if choices is not None and value not in choices:
        yield f"{repr(value)[:100]} is not one of {', '.join(choices)[:300]}"


def _too_few_or_many(field: dict[str, Any], count: int, what: str, called: str) -> Iterator[str]:
    if (least := field.get(f"min{what}")) is not None and count < least:
        yield f"it has {count} {called}, and needs {least}"
    if (most := field.get(f"max{what}")) is not None and count > most:
        yield f"it has {count} {called}, and may have {most}"


def _out_of_bounds(field: dict[str, Any], value: float) -> Iterator[str]:
    if (least := field.get("minimum")) is not None and value < least:
        yield f"{value} is less than the minimum of {least}"
    if (most := field.get("maximum")) is not None and value > most:
        yield f"{value} is more than the maximum of {most}"
    if (least := field.get("exclusiveMinimum")) is not None and value <= least:
        yield f"{value} has to be more than {least}"
    if (most := field.get("exclusiveMaximum")) is not None and value >= most:
        yield f"{value} has to be less than {most}"
