"""One text for one event: canonical JSON (RFC 8785), and the head of a replay computed over it.

Numbers that JSON readers do not agree on are strings, as RFC 8785 advises: decimals, integers
beyond 2**53 - 1, and what is not finite. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from hashlib import sha256
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from events.envelope import Event
from events.errors import ConfigError

MAX_SAFE = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly."""

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_UTC_Z

Number = Callable[[float], Any]


def canonical(event: Event) -> bytes:
    """The whole event as RFC 8785 JSON; equal bytes mean equal events.

    Raises `ConfigError` where the event holds what JSON cannot express.
    """
    data = event.data
    try:
        tree = data.__pydantic_serializer__.to_python(data, mode="json")
        if _exact(type(data)):
            try:
                return orjson.dumps(_envelope(event, tree), option=_OPTIONS)
            except orjson.JSONEncodeError:  # an integer out of range, or text that is not Unicode
                return canonical_json(_envelope(event, tree))
        return canonical_json(_envelope(event, tree))
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{data.type} at position {event.position} of {event.stream} "
            f"has no canonical JSON: {error}"
        ) from error


def canonical_json(tree: Any) -> bytes:
    """RFC 8785 JSON of what `json.loads` could have returned (and of times in UTC)."""
    # orjson writes RFC 8785 but for three things, which `interoperable` and `_object` see to: the
    # form of some numbers, integers out of range, and the order of keys beyond ASCII.
    return orjson.dumps(interoperable(tree, es_number, _object), option=_OPTIONS)


def interoperable(
    value: Any, number: Number, mapping: Callable[[dict[str, Any]], Any] = dict
) -> Any:
    """A copy of a JSON tree with unsafe integers as strings and every float as `number` has it."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is float:
        return number(value)
    if kind is int:
        return value if -MAX_SAFE <= value <= MAX_SAFE else str(value)
    if kind is dict:
        return mapping({key: interoperable(item, number, mapping) for key, item in value.items()})
    if kind is list or kind is tuple:
        return [interoperable(item, number, mapping) for item in value]
    return value


def es_number(value: float) -> Any:
    """A float as ECMAScript writes it: an int or a float where orjson does the same."""
    if value.is_integer() and -MAX_SAFE <= value <= MAX_SAFE:
        return int(value)
    size = abs(value)
    if 1e-4 <= size < 1e15:
        return value
    return orjson.Fragment(es_digits(value)) if isfinite(value) else repr(value)


def es_digits(value: float) -> str:
    """Number::toString of ECMAScript for a finite float."""
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the `point`.
    point = int(exponent or 0) + len(whole) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return f"{sign}{digits}{'0' * (point - count)}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


class HeadChain:
    """A SHA-256 chain over canonical events: each head is SHA-256(head before + canonical bytes).

    Two chains with equal heads were given equal events in equal order.
    """

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head = bytes(32)

    def add(self, event: Event) -> None:
        """Extend the chain by an event."""
        self.add_canonical(canonical(event))

    def add_canonical(self, text: bytes) -> None:
        """Extend the chain by what `canonical` returned, where one event goes into two chains."""
        self._head = sha256(self._head + text).digest()

    def hexdigest(self) -> str:
        """The head so far, in hexadecimal."""
        return self._head.hex()


def _envelope(event: Event, data: Any) -> dict[str, Any]:
    return {
        "at": event.at,
        "by": event.by,
        "cause": event.cause,
        "command": event.command,
        "data": data,
        "position": event.position,
        "step": event.step,
        "stream": event.stream,
        "turn": event.turn,
        "type": event.data.type,
        "version": event.data.version,
    }


def _object(members: dict[str, Any]) -> Any:
    """Sorted by orjson where that is by UTF-16 code units, else sorted here."""
    if all(map(str.isascii, members)):
        return members
    ordered = sorted(members.items(), key=lambda member: member[0].encode("utf-16-be"))
    text = b",".join(
        orjson.dumps(key) + b":" + orjson.dumps(item, option=_OPTIONS) for key, item in ordered
    )
    return orjson.Fragment(b"{" + text + b"}")


@cache
def _exact(kind: type[BaseModel]) -> bool:
    """Whether no field of the class can hold a float or a key of somebody else's choosing."""
    return all(_exact_annotation(field.annotation) for field in kind.model_fields.values())


def _exact_annotation(annotation: Any) -> bool:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _exact_annotation(inner[0])
    if origin is Literal:
        return all(isinstance(choice, str) for choice in inner)
    if origin in (tuple, Union, UnionType):
        return all(map(_exact_annotation, inner))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _exact(annotation)
    return annotation in (str, int, bool, Decimal, NoneType, Ellipsis)
