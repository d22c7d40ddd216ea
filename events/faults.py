"""What is wrong with a value that people wrote, in plain words that say what to do.

Made of what pydantic found, without its own words; no message holds a value, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from events.values import Id

_ID_PATTERN = TypeAdapter(Id).json_schema()["pattern"]

_KINDS = {
    "string_type": "has to be a text, in quotation marks",
    "int": "has to be a whole number",
    "float": "has to be a number",
    "decimal": "has to be a number of US dollars, such as 2.50",
    "bool": "has to be true or false",
    "date_": "has to be a date, such as 2026-03-31",
    "datetime_": "has to be a date and a time, such as 2026-03-31T12:00:00Z",
    "tuple_type": "has to be a list",
    "list_type": "has to be a list",
    "model_type": "has to be an object, with its keys in braces",
    "model_attributes_type": "has to be an object, with its keys in braces",
    "dict_type": "has to be an object, with its keys in braces",
    "finite_number": "has to be a finite number",
    "extra_forbidden": "unknown key: remove it or correct its name",
    "missing": "is missing: it is required",
}
"""By the beginning of the error's type; the longest that fits counts."""

_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}

_EXAMPLES = {
    "fallbacks": 'such as [{"provider": "ollama", "model_name": "llama3"}]',
    "models": 'such as [{"id": "ada", "provider": "rehearsal", "model_name": "steady"}]',
    "budget": 'such as 2.50 or {"limit": 2.50, "warn_at": [0.8]}',
}
"""What the keys of a session's configuration look like that are written wrong most easily."""


class Fault(NamedTuple):
    """One thing that is wrong: the path to it, and what to do."""

    place: tuple[str | int, ...]
    message: str


def faults(found: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """The faults out of pydantic's; what only follows from another is not named.

    A list that has a wrong item is also said to be too short, where the item alone is the matter.
    """
    found = list(found)
    places = [tuple(one["loc"]) for one in found]
    return [
        Fault(place, said(one))
        for one, place in zip(found, places, strict=True)
        if one["type"] != "too_short" or not any(_within(other, place) for other in places)
    ]


def _within(place: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def said(fault: Mapping[str, Any]) -> str:
    """One of pydantic's faults in plain words."""
    kind, context = str(fault["type"]), fault.get("ctx", {})
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"has to be {words} {_number(context[name])}"
    match kind:
        case "literal_error" | "enum":
            return f"has to be {context['expected']}"
        case "string_pattern_mismatch" if context["pattern"] == _ID_PATTERN:
            return "an id has 1 to 64 letters, digits, '_' and '-', and nothing else"
        case "string_pattern_mismatch":
            return f"has to match the pattern {context['pattern']}"
        case "string_too_short" | "too_short":
            least = context["min_length"]
            some = f"at least {least} {_counted(kind)}"
            return f"needs {some}" if least > 1 else "is empty: give at least one"
        case "string_too_long" | "too_long":
            return f"has more than {context['max_length']} {_counted(kind)}"
    begin = max((one for one in _KINDS if kind.startswith(one)), key=len, default=None)
    if begin is not None:
        return _with_example(_KINDS[begin], fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should be", "has to be")
    return message[:1].lower() + message[1:]


def _with_example(message: str, place: tuple[str | int, ...]) -> str:
    """The message, with how the value is written where that is known."""
    example = _EXAMPLES.get(str(place[-1])) if place and message.startswith("has to be") else None
    return message if example is None else f"{message}, {example}"


def _counted(kind: str) -> str:
    return "characters" if "str" in kind else "items"


def _number(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)
