"""The template of a request: JSON whose texts are Jinja2, as the provider `generic_http` has it.

A text that is exactly one `{{ expression }}` becomes the value itself, with its type; a key or list
item whose expression gives nothing (it is not defined, or none) is left out. Any other text becomes
text. Keys, numbers, truth values and null stand as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from actors.providers import sandbox
from actors.providers.sandbox import TemplateFault

LARGEST_BODY: Final = 32 * 1024 * 1024  # characters, and values, of what a template gives

_MARKS: Final = ("{{", "{%", "{#")
_LEFT_OUT: Final = object()


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of the template that holds Jinja2."""

    source: str
    place: str
    expression: bool

    def filled(self, context: Mapping[str, Any]) -> Any:
        try:
            if not self.expression:
                return sandbox.render(self.source, context)
            value = sandbox.evaluate(self.source, context)
        except TemplateFault as error:
            raise TemplateFault(f"{self.place}: {error}") from None
        return _LEFT_OUT if value is None else value


class RequestTemplate:
    """A template, checked: raises a `TemplateFault` that names the place where it is wrong."""

    def __init__(self, template: Any) -> None:
        self._used: set[str] = set()
        self._plan = self._planned(template, "")

    def uses(self, name: str) -> bool:
        """Whether it has a place for `name`, such as `prompt` or `config.seed`."""
        return name in self._used or name.partition(".")[0] in self._used

    def body(self, context: Mapping[str, Any]) -> Any:
        """The JSON that it makes of the context, or a `TemplateFault`."""
        body = _filled(self._plan, context)
        _measure(body)
        return body

    def _planned(self, value: Any, place: str) -> Any:
        """The template with its texts parsed."""
        if isinstance(value, Mapping):
            return {
                key: self._planned(each, f"{place}.{key}" if place else key)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._planned(each, f"{place}[{at}]") for at, each in enumerate(value)]
        if not isinstance(value, str) or not any(mark in value for mark in _MARKS):
            return value
        try:
            self._used |= sandbox.names(value)
            return _Text(value, place, sandbox.is_expression(value))
        except TemplateFault as error:
            raise TemplateFault(f"{place or 'the text'}: {error}") from None


def _filled(plan: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(plan, dict):
        pairs = ((key, _filled(each, context)) for key, each in plan.items())
        return {key: each for key, each in pairs if each is not _LEFT_OUT}
    if isinstance(plan, list):
        items = (_filled(each, context) for each in plan)
        return [each for each in items if each is not _LEFT_OUT]
    return plan.filled(context) if isinstance(plan, _Text) else plan


def _measure(body: Any) -> None:
    """Raise a `TemplateFault` where that is too much, or no JSON."""
    left = LARGEST_BODY
    waiting = [body]
    while waiting:
        value = waiting.pop()
        left -= 1 + (len(value) if isinstance(value, str | list | tuple | dict) else 0)
        if left < 0:
            raise TemplateFault(f"it gives more than {LARGEST_BODY} characters")
        if isinstance(value, dict):
            waiting += value.values()
            keys = value.keys()
            if not all(isinstance(key, str) for key in keys):
                raise TemplateFault("an object has a key that is no text")
            left -= sum(map(len, keys))
        elif isinstance(value, list | tuple):
            waiting += value
        elif not isinstance(value, str | int | float | bool | None):
            raise TemplateFault(f"a {type(value).__name__} is no JSON: make a list of it (| list)")
