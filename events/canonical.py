"""One text for one event: canonical JSON (RFC 8785), and the head of a replay computed over it.

Numbers that JSON readers do not agree on are strings, as RFC 8785 advises: decimals, integers
beyond 2**53 - 1, and what is not finite. Times are ISO 8601 in UTC.

orjson writes RFC 8785 but for three things: the form of some floats, integers out of range, and
the order of keys beyond ASCII. Those are seen to here, and only where they can occur.
"""

from __future__ import annotations

import re
from hashlib import sha256
from math import isfinite
from typing import Any

import orjson
from pydantic_core import PydanticSerializationError

from events.envelope import Event
from events.errors import ConfigError
from events.interoperable import MAX_SAFE, interoperable, json_tree

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_UTC_Z

_MAYBE_FLOAT = re.compile(rb"\.|\de|null").search
"""Finds every float in JSON that orjson wrote (and much that is none)."""


def canonical(event: Event) -> bytes:
    """The whole event as RFC 8785 JSON; equal bytes mean equal events.

    Raises `ConfigError` where the event holds what JSON cannot express.
    """
    data = event.data
    try:
        envelope = {
            "at": event.at,
            "by": event.by,
            "cause": event.cause,
            "command": event.command,
            "data": json_tree(data, es_number, _free),
            "position": event.position,
            "step": event.step,
            "stream": event.stream,
            "turn": event.turn,
            "type": data.type,
            "version": data.version,
        }
        try:
            return orjson.dumps(envelope, option=_OPTIONS)
        except orjson.JSONEncodeError:  # an integer out of range, or text that is not Unicode
            return canonical_json(envelope)
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{data.type} at position {event.position} of {event.stream} "
            f"has no canonical JSON: {error}"
        ) from error


def canonical_json(tree: Any) -> bytes:
    """RFC 8785 JSON of what `json.loads` could have returned (and of times in UTC)."""
    return orjson.dumps(interoperable(tree, es_number, _object), option=_OPTIONS)


def es_number(value: float) -> Any:
    """A float in a form that orjson writes as ECMAScript does."""
    if value.is_integer() and -MAX_SAFE <= value <= MAX_SAFE:
        return int(value)
    if 1e-4 <= value < 1e15 or -1e15 < value <= -1e-4:
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


def _free(value: Any) -> Any:
    """Canonical JSON of a value of no declared type, written once where it needs no care."""
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return interoperable(value, es_number, _object)
    if text.isascii() and not _MAYBE_FLOAT(text):
        return orjson.Fragment(text)
    return interoperable(value, es_number, _object)


def _object(members: dict[str, Any]) -> Any:
    """Sorted by orjson where that is by UTF-16 code units, else sorted here."""
    if all(map(str.isascii, members)):
        return members
    ordered = sorted(members.items(), key=lambda member: member[0].encode("utf-16-be"))
    text = b",".join(
        orjson.dumps(key) + b":" + orjson.dumps(item, option=_OPTIONS) for key, item in ordered
    )
    return orjson.Fragment(b"{" + text + b"}")
