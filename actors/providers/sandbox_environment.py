"""The environment of the templates in the sandbox: all that it runs is measured first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import signature
from typing import Any, Final

import orjson
from jinja2 import Environment, nodes, pass_context
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import _PassArg
from jinja2.visitor import NodeTransformer

from actors.providers import sandbox_work as work
from actors.providers.sandbox_work import TemplateRefused

# They take far more time than their texts are long, or any width.
_LEFT_OUT: Final = ("format", "pprint", "striptags", "urlize", "wordwrap", "xmlattr")
_REFUSED: Final = frozenset(["format", "format_map", "striptags", "translate"])
# What these cost does not depend on what they are given.
_FREE: Final = frozenset("attr count d default first last length".split())
# These look at no more than how many values they are given.
_SHALLOW: Final = frozenset(
    "batch items list map reject rejectattr reverse select selectattr slice".split()
)
_MAKING_MUCH: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
    "replace": lambda given: work.replaced(given["s"], given["old"], given["new"]),
    "join": lambda given: work.joined(given["value"], given["d"]),
    "indent": lambda given: work.indented(given["s"], given["width"]),
    "sum": lambda given: _number(given["start"]),
}


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def call(self, context: Any, function: Any, /, *args: Any, **named: Any) -> Any:
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if name in _REFUSED:
            raise TemplateRefused(f"it calls {name}, whose result is not bounded: use ~")
        work.handed([*args, *named.values()])
        if isinstance(function, LoopContext):
            return super().call(context, function, *map(work.counted, args), **named)
        if isinstance(function, Macro):
            work.spend(sum(map(work.length, (*args, *named.values()))))
        else:
            args = tuple(work.whole(args))
            _method(name, owner, (*args, *named.values()))
            work.spend(sum(map(work.size, (*args, *named.values()))))
        made = super().call(context, function, *args, **named)
        work.spend(work.size(made))
        return made

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        work.operated(operator, left, right)
        return super().call_binop(context, operator, left, right)


def environment() -> Environment:
    """The environment, for trees that `guarded` has prepared."""
    made = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
        finalize=_written,
    )
    filters = {**made.filters, "tojson": _to_json}
    made.filters = {
        name: _bounded(name, filter) for name, filter in filters.items() if name not in _LEFT_OUT
    }
    made.filters |= {"counted": _counted, "measured": _measured, "sliced": _sliced}
    tests: Mapping[str, Any] = made.tests
    made.tests = {name: _compared(test) for name, test in tests.items()}
    del made.globals["lipsum"]
    return made


def guarded(tree: nodes.Template) -> nodes.Template:
    """The template, with what it does beside filters and calls measured too."""
    _Guard().visit(tree)
    return tree


class _Guard(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        node.iter = _through("counted", node.iter)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        # Only what is no such data is handed to `finalize`.
        node.nodes = [
            nodes.Const(each.data, lineno=each.lineno)
            if isinstance(each, nodes.TemplateData)
            else each
            for each in node.nodes
        ]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        node.expr = _through("measured", node.expr)
        for operand in node.ops:
            operand.expr = _through("measured", operand.expr)
        return node

    def visit_Concat(self, node: nodes.Concat) -> Any:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        node.nodes = [_through("measured", each) for each in node.nodes]
        return _through("measured", node)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through("sliced", node.node)
        return node

    def visit_List(self, node: nodes.List) -> Any:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        return _through("measured", node)

    def visit_Dict(self, node: nodes.Dict) -> Any:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        return _through("measured", node)

    def visit_Tuple(self, node: nodes.Tuple) -> Any:  # noqa: N802 - Jinja2 calls it so
        self.generic_visit(node)
        return node if node.ctx == "store" else _through("measured", node)


def _through(filter: str, value: Any) -> Any:
    if isinstance(value, nodes.Const):
        return value
    return nodes.Filter(value, filter, [], [], None, None, lineno=value.lineno)


# With the context, so that nothing is computed when the template is compiled.


@pass_context
def _written(_: Any, value: Any) -> Any:
    work.spend(work.size(value))
    return value


@pass_context
def _counted(_: Any, values: Any) -> Iterator[Any]:
    return work.counted(values)


@pass_context
def _measured(_: Any, value: Any) -> Any:
    work.spend(work.size(value))
    return value


@pass_context
def _sliced(_: Any, value: Any) -> Any:
    work.spend(work.length(value))
    return value


def _bounded(name: str, filter: Callable[..., Any]) -> Callable[..., Any]:
    makes_much, form = _MAKING_MUCH.get(name), signature(filter)
    first = 1 if _PassArg.from_obj(filter) else 0

    # `wraps` takes along what the filter wants to be handed, such as the context.
    @wraps(filter)
    def checked(*args: Any, **named: Any) -> Any:
        own, args = args[:first], args[first:]
        work.handed([*args, *named.values()])
        if name in _FREE:
            return filter(*own, *args, **named)
        if name in _SHALLOW:
            work.spend(sum(map(work.length, args)))
        else:
            args = tuple(work.whole(args))
            work.spend(sum(map(work.size, (*args, *named.values()))))
        if makes_much is not None:
            given = form.bind(*own, *args, **named)
            given.apply_defaults()
            makes_much(given.arguments)
        made = filter(*own, *args, **named)
        work.spend(work.size(made))
        return made

    return checked


def _compared(test: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(test)
    def checked(*args: Any) -> Any:
        if len(args) > 1:
            work.spend(sum(map(work.size, args)))
        return test(*args)

    return checked


def _method(name: str, owner: Any, given: tuple[Any, ...]) -> None:
    """A method that is to be called."""
    if isinstance(owner, list | tuple) and name in ("index", "count"):
        work.spend(work.size(owner))
    if not isinstance(owner, str | bytes):
        return
    work.spend(len(owner))
    if name == "replace" and len(given) > 1:
        work.replaced(owner, given[0], given[1])
    elif name == "join" and given:
        work.joined(given[0], owner)
    elif name == "expandtabs":
        work.indented(owner, given[0] if given else 8)


def _number(start: Any) -> None:
    if not isinstance(start, int | float):
        raise TemplateRefused("it sums up what are no numbers")


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    # Not Jinja2's own, which escapes for HTML.
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None).decode()
