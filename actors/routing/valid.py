"""What a router may say: checked where it says it, so that every step can be recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeGuard

import orjson

from events.errors import RouterFault
from events.values import SPILL

REASON = 4000
"""Characters of a reason at most."""

LONGEST_ARGUMENTS = 1_000_000
"""Bytes of the arguments of a call, at most."""

DAY = 86_400
"""Seconds of a timer at most."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def text(value: object, what: str, longest: int | None = None) -> str:
    """`value`, where it is text that can be stored."""
    if not isinstance(value, str):
        raise RouterFault(f"{what} is a str, not {type(value).__name__}")
    if longest is not None and len(value) > longest:
        raise RouterFault(f"{what} has at most {longest} characters, not {len(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise RouterFault(f"{what} is not valid Unicode (a lone surrogate)") from None
    return value


def is_name(value: object) -> TypeGuard[str]:
    """Whether it may stand in a step's key as it is."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def name(value: object) -> str:
    """`value`, where it may stand in a step's key."""
    if not is_name(value):
        raise RouterFault("the name of a timer or draw is 1 to 64 of A-Z, a-z, 0-9, '_' and '-'")
    return value


def choice(value: object, what: str, choices: Sequence[str | None]) -> None:
    """Refuse what is not one of `choices`."""
    if value not in choices:
        raise RouterFault(f"{what} is one of {', '.join(map(repr, choices))}")


def seconds(value: object) -> float:
    """The length of a timer."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RouterFault(f"a timer takes seconds, not {type(value).__name__}")
    if not 0 <= value <= DAY:
        raise RouterFault(f"a timer takes 0 to {DAY} seconds")
    return float(value)


def schema(value: object) -> dict[str, Any]:
    """A copy of a JSON schema as the log will give it back: lists for tuples, and of its own."""
    content = _json(value, "a schema")
    if len(content) > SPILL:
        raise RouterFault(f"a schema has at most {SPILL} bytes, not {len(content)}")
    copy: dict[str, Any] = orjson.loads(content)
    return copy


def arguments(value: object) -> str:
    """The arguments of a call as JSON text."""
    content = _json(value, "the arguments of a call")
    if len(content) > LONGEST_ARGUMENTS:
        raise RouterFault(
            f"the arguments of a call have at most {LONGEST_ARGUMENTS} bytes, not {len(content)}"
        )
    return content.decode()


def _json(value: object, what: str) -> bytes:
    """A JSON object in the order in which it was written."""
    try:
        content = orjson.dumps(value)
    except (TypeError, ValueError) as error:
        verb = "are" if what.endswith("call") else "is"
        raise RouterFault(f"{what} {verb} JSON: {error}") from None
    if not isinstance(value, dict):
        verb = "are" if what.endswith("call") else "is"
        raise RouterFault(f"{what} {verb} a dict, not {type(value).__name__}")
    return content
