"""Numbers that every JSON reader agrees on (RFC 7493, I-JSON).

Decimals are strings already when pydantic writes them. Here integers beyond 2**53 - 1 become
strings, and floats what the caller makes of them. Most of a payload holds no float, so where to
look for one is worked out once for each class.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

MAX_SAFE = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly."""

Number = Callable[[float], Any]
Mapping = Callable[[dict[str, Any]], Any]

_Plan = tuple[tuple[str, Any], ...]
"""Keys of an object to look at, with `float`, `Any`, or the plan of the object (or objects)."""


def interoperable(value: Any, number: Number, mapping: Mapping = dict) -> Any:
    """A copy of a JSON tree with unsafe integers as strings, and floats and objects as given."""
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


def json_tree(model: BaseModel, number: Number, free: Callable[[Any], Any]) -> dict[str, Any]:
    """The JSON tree of a model, its floats and its values of no declared type as given.

    Integers of declared type are left as they are.
    """
    tree: dict[str, Any] = model.__pydantic_serializer__.to_python(model, mode="json")
    plan = _plan(type(model))
    if plan:
        _apply(tree, plan, number, free)
    return tree


def _apply(tree: dict[str, Any], plan: _Plan, number: Number, free: Callable[[Any], Any]) -> None:
    for key, kind in plan:
        value = tree[key]
        if not value and value != 0:
            continue
        if kind is float:
            tree[key] = number(value) if type(value) is float else value
        elif kind is Any:
            tree[key] = free(value)
        elif type(value) is dict:
            _apply(value, kind, number, free)
        elif type(value) is list:
            for item in value:
                _apply(item, kind, number, free)


@cache
def _plan(model: type[BaseModel]) -> _Plan:
    """Where the tree of a model may hold a float, or anything at all."""
    by_alias = model.model_config.get("serialize_by_alias", False)
    kinds = {
        (by_alias and field.serialization_alias) or name: _kind(field.annotation)
        for name, field in model.model_fields.items()
    }
    return tuple((key, kind) for key, kind in kinds.items() if kind is not None)


def _kind(annotation: Any) -> Any:
    """`float`, `Any`, the plan of the model in it, or None where there is nothing to look at."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal or annotation in (str, int, bool, Decimal, NoneType):
        return None
    if origin in (Union, UnionType):
        kinds = [kind for kind in map(_kind, inner) if kind is not None]
        return kinds[0] if len(kinds) == 1 else Any if kinds else None
    if origin is tuple and inner[1:] == (Ellipsis,):
        kind = _kind(inner[0])
        return Any if kind is float else kind
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _plan(annotation) or None
    return float if annotation is float else Any
