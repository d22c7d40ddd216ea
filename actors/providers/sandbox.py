"""Jinja2 templates in a sandbox that bounds what they take.

What a template may take is bounded as `actors.providers.sandbox_work` says, so that it ends soon,
whatever it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from actors.providers import sandbox_work
from actors.providers.sandbox_work import LONGEST_TEXT, TemplateRefused

if TYPE_CHECKING:
    from jinja2 import Environment, Template, nodes

KEPT: Final = 64  # compiled templates


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

    sandbox_work.begin()
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
    from actors.providers.sandbox_environment import guarded

    environment = _environment()
    return environment.from_string(guarded(environment.parse(template)))


@lru_cache(maxsize=KEPT)
def _compiled_expression(template: str) -> Template:
    from jinja2 import nodes

    from actors.providers.sandbox_environment import guarded

    environment = _environment()
    expression = _expression(environment.parse(template))
    if expression is None:
        raise TemplateRefused("it is not one expression")
    name = nodes.Name("result", "store", lineno=1)
    tree = nodes.Template([nodes.Assign(name, expression, lineno=1)], lineno=1)
    tree.set_environment(environment)
    return environment.from_string(guarded(tree))


def _expression(tree: nodes.Template) -> nodes.Expr | None:
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[nodes.Expr() as only])] if not isinstance(
            only, nodes.TemplateData
        ):
            return only
    return None


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Jinja2 is imported where it is first needed.
    from actors.providers.sandbox_environment import environment

    return environment()


def _constant(node: nodes.Expr) -> Any:
    from jinja2 import nodes

    return node.value if isinstance(node, nodes.Const) else None
