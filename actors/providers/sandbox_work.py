"""How much a template may take: one budget for each run, spent before the work is done.

Every text counts that goes into a filter, a call or an operator, or comes out of one, and so does
every turn of a loop. What could make much of little, such as `replace`, is measured before it runs.
Since no single operation handles more than `LONGEST_TEXT`, the limit of time ends a run as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, MappingView, Sequence, Set
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import Any, Final, cast

LONGEST_TEXT: Final = 4 * 1024 * 1024  # characters
PART: Final = 8  # characters that a value within another counts for
MOST_WORK: Final = 16 * LONGEST_TEXT  # characters and values, over the whole run
MOST_STEPS: Final = 200_000
LONGEST_RUN: Final = 5.0  # seconds
LARGEST_NUMBER: Final = 100_000  # that is handed to a function or filter
MOST_BITS: Final = 4096  # of an integer

_WIDE = re.compile(r"%[^a-zA-Z%]*(\*|\d{5,})")
_WIDTH = re.compile(r"\d+")


class TemplateRefused(Exception):
    """What the template does is refused, or it refuses what it is given; the text says why."""


@dataclass(slots=True)
class Run:
    """What one run has taken so far."""

    steps: int = 0
    work: int = 0
    ends: float = field(default_factory=lambda: monotonic() + LONGEST_RUN)


_run: ContextVar[Run] = ContextVar("run")


def begin() -> None:
    """Count anew."""
    _run.set(Run())


def spend(work: int) -> None:
    """Take that much of the budget."""
    run = _run.get()
    run.work += 1 + work
    if run.work > MOST_WORK:
        raise TemplateRefused(f"it handles more than {MOST_WORK} characters in all")
    if monotonic() > run.ends:
        raise TemplateRefused(f"it takes longer than {LONGEST_RUN:g} s")


def step() -> None:
    """A turn of a loop, or a call."""
    run = _run.get()
    run.steps += 1
    if run.steps > MOST_STEPS:
        raise TemplateRefused(f"it takes more than {MOST_STEPS} steps")
    spend(0)


def length(value: Any) -> int:
    """The size of a text or a container, whatever that holds."""
    return len(value) if isinstance(value, str | bytes | Sequence | Mapping) else 1


def size(value: Any) -> int:
    """The characters and values in it, those deep within counted by their depth too."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise TemplateRefused(f"it makes a number of more than {MOST_BITS} bits")
    found = 0
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        found += depth
        if isinstance(each, str | bytes):
            found += len(each)
        elif (parts := _parts(each)) is not None:
            number, inner = parts
            found += PART * number
            fits(found)
            waiting += ((part, depth + 1) for part in inner)
    fits(found)
    return found


def _parts(value: Any) -> tuple[int, Iterator[Any]] | None:
    """How many parts it shows where it is written out, and these."""
    if value is None or isinstance(value, int | float | range):
        return None
    if isinstance(value, list | tuple):  # soon found out, and the most there is
        return len(value), iter(value)
    # A namespace shows what was set in it, and may hold another twice.
    if type(value).__name__ == "Namespace":
        value = value._Namespace__attrs
    if isinstance(value, Mapping):
        return 2 * len(value), chain(value.keys(), value.values())
    if isinstance(value, Sequence | Set | MappingView):
        return len(value), iter(cast(Collection[Any], value))
    return None


def fits(characters: int) -> None:
    """Raise `TemplateRefused` where one text or value would be as large as that."""
    if characters > LONGEST_TEXT:
        raise TemplateRefused(f"it makes a text or value of more than {LONGEST_TEXT} characters")


def whole(values: Sequence[Any]) -> list[Any]:
    """The values, with what comes one by one taken as a list."""
    return [list(counted(each)) if isinstance(each, Iterator) else each for each in values]


def counted(values: Any) -> Iterator[Any]:
    """The values, each a step."""
    for value in values:
        step()
        yield value


def handed(given: Sequence[Any]) -> None:
    """A call with those arguments."""
    step()
    for value in given:
        if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
            raise TemplateRefused(f"it hands {value} to a function")


def replaced(text: Any, old: Any, new: Any) -> None:
    """A text in which something is to be replaced."""
    text = text if isinstance(text, bytes) else str(text)
    old = old if isinstance(old, bytes) else str(old)
    fits(len(text) + text.count(old) * size(new))


def joined(parts: Any, between: Any) -> None:
    """Texts that are to be joined."""
    fits(size(parts) + length(parts) * size(between))


def indented(text: Any, width: Any) -> None:
    """A text whose lines are to be indented, or whose tabs are to be so wide."""
    text = str(text)
    lines = len(text.splitlines()) + text.count("\t") + 1
    fits(len(text) + lines * (len(width) if isinstance(width, str) else int(width)))


def operated(operator: str, left: Any, right: Any) -> None:
    """An operation that is to be done."""
    if operator == "+":
        fits(length(left) + length(right))
        spend(length(left) + length(right))
        return
    step()
    if operator == "**" and not (abs(left) <= LARGEST_NUMBER and 0 <= right <= 16):
        raise TemplateRefused("it takes too high a power")
    if operator == "*":
        _multiplied(left, right)
    if operator == "%" and isinstance(left, str | bytes):
        _formatted(str(left), right)


def _multiplied(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MOST_BITS:
            raise TemplateRefused(f"it makes a number of more than {MOST_BITS} bits")
        return
    for one, other in ((left, right), (right, left)):
        if isinstance(other, int) and not isinstance(one, int | float):
            if size(one) * other > LONGEST_TEXT or len(one) * other > LONGEST_TEXT:
                raise TemplateRefused("it multiplies a text too often")
            spend(max(0, size(one) * other))


def _formatted(form: str, given: Any) -> None:
    if _WIDE.search(form):
        raise TemplateRefused("it formats too wide a field")
    widths = sum(int(each) for each in _WIDTH.findall(form) if len(each) < 5)
    # A mapping's values may each stand at many places.
    places = form.count("%") if isinstance(given, Mapping) else 1
    fits(len(form) + widths + places * size(given))
    spend(len(form) + widths + places * size(given))
