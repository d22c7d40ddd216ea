"""Jinja2 templates in a sandbox that bounds what they take.

What a template may take is bounded: its steps (turns of a loop, calls), its output, the length of
the texts that it joins, and the numbers that it hands to a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

LONGEST_TEXT: Final = 4 * 1024 * 1024  # characters
MOST_STEPS: Final = 200_000
LARGEST_NUMBER: Final = 100_000  # that is handed to a function or filter
KEPT: Final = 64  # compiled templates

_steps: ContextVar[int] = ContextVar("steps", default=0)
_WIDE = re.compile(r"%[^a-zA-Z%]*(\*|\d{5,})")


class TemplateRefused(Exception):
    """What the template does is refused, or it refuses what it is given; the text says why."""


class TemplateFault(Exception):
    """The template cannot be used; the text says why."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """The text that the template makes of the context; `TemplateFault` where it cannot."""
    parts, size = [], 0
    with _bounded_run():
        for part in _compiled(template).generate(context):
            parts.append(part)
            size += len(part)
            if size > LONGEST_TEXT:
                raise TemplateRefused(f"its output has more than {LONGEST_TEXT} characters")
    return "".join(parts)


def evaluate(template: str, context: Mapping[str, Any]) -> Any:
    """The value of a template that is one expression; None where that is not defined."""
    from jinja2 import Undefined

    with _bounded_run():
        compiled = _compiled_expression(template)
        within = compiled.new_context(dict(context))
        for _ in compiled.root_render_func(within):
            pass
        value = within.vars["result"]
    return None if isinstance(value, Undefined) else value


def is_expression(template: str) -> bool:
    """Whether the template is exactly one `{{ expression }}`; `TemplateFault` where it is wrong."""
    with _bounded_run():
        return _expression(_environment().parse(template)) is not None


def names(template: str) -> frozenset[str]:
    """What the template uses of its context: `name`, or `name.part` where it uses only that."""
    from jinja2 import nodes

    with _bounded_run():
        tree = _environment().parse(template)
    found, inner = set(), set()
    either: Any = (nodes.Getattr, nodes.Getitem)
    node: Any
    for node in tree.find_all(either):
        part = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if isinstance(node.node, nodes.Name) and isinstance(part, str):
            found.add(f"{node.node.name}.{part}")
            inner.add(id(node.node))
    whole = (node for node in tree.find_all(nodes.Name) if node.ctx == "load")
    return frozenset(found | {node.name for node in whole if id(node) not in inner})


@contextmanager
def _bounded_run() -> Iterator[None]:
    """Count the steps anew, and make every failure a `TemplateFault`."""
    from jinja2 import TemplateError, TemplateSyntaxError

    _steps.set(0)
    try:
        yield
    except TemplateSyntaxError as error:
        raise TemplateFault(f"line {error.lineno}: {error.message}") from None
    except TemplateRefused as error:
        raise TemplateFault(str(error)) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateFault(f"{type(error).__name__}: {error}") from None
    except (AttributeError, AssertionError, RecursionError, MemoryError, SyntaxError) as error:
        raise TemplateFault(type(error).__name__) from None


@lru_cache(maxsize=KEPT)
def _compiled(template: str) -> Template:
    environment = _environment()
    return environment.from_string(_guarded(environment.parse(template)))


@lru_cache(maxsize=KEPT)
def _compiled_expression(template: str) -> Template:
    from jinja2 import nodes

    environment = _environment()
    expression = _expression(environment.parse(template))
    if expression is None:
        raise TemplateRefused("it is not one expression")
    name = nodes.Name("result", "store", lineno=1)
    tree = nodes.Template([nodes.Assign(name, expression, lineno=1)], lineno=1)
    tree.set_environment(environment)
    return environment.from_string(_guarded(tree))


def _expression(tree: nodes.Template) -> nodes.Expr | None:
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as only])] if not isinstance(
            only, nodes.TemplateData
        ):
            return only
    return None


def _constant(node: nodes.Expr) -> Any:
    from jinja2 import nodes

    return node.value if isinstance(node, nodes.Const) else None


# --- bounds ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**", "%"])

        def call(self, context: Any, function: Any, /, *args: Any, **named: Any) -> Any:
            if getattr(function, "__name__", "") in ("format", "format_map"):
                raise TemplateRefused("it calls format, whose widths are not bounded: use ~")
            _check([*args, *named.values()])
            return super().call(context, function, *args, **named)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    filters = {name: _bounded(filter) for name, filter in environment.filters.items()}
    for name in ("format", "xmlattr", "urlize", "pprint"):
        del filters[name]
    filters["tojson"] = _to_json
    filters["counted"] = _counted
    filters["short"] = _short
    environment.filters = filters
    del environment.globals["lipsum"]
    return environment


def _guarded(tree: nodes.Template) -> nodes.Template:
    """The template with its loops counted and the texts that it joins measured."""
    from jinja2 import nodes

    def through(filter: str, value: Any) -> nodes.Filter:
        return nodes.Filter(value, filter, [], [], None, None, lineno=value.lineno)

    for loop in tree.find_all(nodes.For):
        loop.iter = through("counted", loop.iter)
    for sum in tree.find_all(nodes.Add):
        sum.left, sum.right = through("short", sum.left), through("short", sum.right)
    for joined in tree.find_all(nodes.Concat):
        joined.nodes = [through("short", each) for each in joined.nodes]
    return tree


def _step() -> None:
    steps = _steps.get() + 1
    if steps > MOST_STEPS:
        raise TemplateRefused(f"it takes more than {MOST_STEPS} steps")
    _steps.set(steps)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _step()
        yield value


def _short(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > LONGEST_TEXT:
        raise TemplateRefused(f"it joins more than {LONGEST_TEXT} characters")
    return value


def _check(given: Sequence[Any]) -> None:
    _step()
    for value in given:
        if isinstance(value, int | float) and abs(value) > LARGEST_NUMBER:
            raise TemplateRefused(f"it hands {value} to a function")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    _step()
    if operator == "**" and not (abs(left) <= LARGEST_NUMBER and 0 <= right <= 16):
        raise TemplateRefused("it takes too high a power")
    if operator == "*":
        for one, other in ((left, right), (right, left)):
            many = isinstance(other, int) and not isinstance(one, int | float)
            if many and len(one) * other > LONGEST_TEXT:
                raise TemplateRefused("it multiplies a text too often")
    if operator == "%" and isinstance(left, str) and _WIDE.search(left):
        raise TemplateRefused("it formats too wide a field")


def _bounded(filter: Callable[..., Any]) -> Callable[..., Any]:
    # `wraps` takes along what the filter wants to be handed, such as the context.
    @wraps(filter)
    def checked(*args: Any, **named: Any) -> Any:
        _check([*args, *named.values()])
        return filter(*args, **named)

    return checked


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Not Jinja2's own, which escapes for HTML.
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()
