"""What a new script may not contain, because a replay would find something else.

A guard against mistakes, not a sandbox: it looks at names as they are written. It is for scripts
that are collected; what was recorded once is run as it was.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from types import MappingProxyType

_CHANCE = "draw with 'await turn.draw(name)', and seed 'random.Random' with that where need be"
_CLOCK = "a router has no clock: wait with 'turn.timer(seconds, name)'"
_FILES = (
    "a router reads no files: put what it needs into a module beside it, or take it from "
    "'turn.message'"
)
_MACHINE = "a router knows only its turn: take it from 'turn.message' or 'turn.participants'"
_PROCESS = "it is another number in every process: compare values, or sort by them"

_MODULES = MappingProxyType(
    {"random": _CHANCE, "uuid": _CHANCE, "os": _MACHINE, "tempfile": _FILES, "shutil": _FILES}
)
"""Modules whose names cannot be used, but for those in `_REPEATABLE`."""
_REPEATABLE = frozenset(
    "random.Random uuid.UUID uuid.uuid3 uuid.uuid5 "
    "uuid.NAMESPACE_DNS uuid.NAMESPACE_URL uuid.NAMESPACE_OID uuid.NAMESPACE_X500".split()
)
_NAMES = MappingProxyType(
    {
        "datetime.datetime.now": _CLOCK,
        "datetime.datetime.utcnow": _CLOCK,
        "datetime.datetime.today": _CLOCK,
        "datetime.date.today": _CLOCK,
        "pathlib.Path": _FILES,
        "pathlib.PosixPath": _FILES,
        "pathlib.WindowsPath": _FILES,
        "io.open": _FILES,
    }
)
_BUILTINS = MappingProxyType({"open": _FILES, "input": _MACHINE, "hash": _PROCESS, "id": _PROCESS})
"""Built-in functions that cannot be called, unless the script has a name of its own there."""


def first_fault(tree: ast.Module, local: Set[str]) -> tuple[int, str] | None:
    """The first line that a replay would not repeat, and what is wrong with it; None without.

    `local` are the modules that are recorded with the script: those of Python are not meant then.
    """
    return min(_faults(tree, local), default=None)


def _faults(tree: ast.Module, local: Set[str]) -> Iterator[tuple[int, str]]:
    origins = _origins(tree, local)
    own = _own_names(tree)
    hashing = _lines_of_hash_methods(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if module not in local:
                for alias in node.names:
                    yield from _refused(f"{module}.{alias.name}", node.lineno)
            case ast.Attribute() | ast.Name():
                if (name := _dotted(node, origins)) is not None:
                    yield from _refused(name, node.lineno)
            case ast.Call(func=ast.Name(id=name)) if name in _BUILTINS and name not in own:
                if name != "hash" or node.lineno not in hashing:
                    yield node.lineno, f"calls {name}(): {_BUILTINS[name]}"
            case ast.Call(func=function, args=[], keywords=[]):
                if _dotted(function, origins) == "random.Random":
                    yield node.lineno, f"seeds by chance: {_CHANCE}"
            case _:
                pass


def _refused(name: str, line: int) -> Iterator[tuple[int, str]]:
    top, dot, _ = name.partition(".")
    why = _NAMES.get(name)
    if why is None and dot and ".".join(name.split(".")[:2]) not in _REPEATABLE:
        why = _MODULES.get(top)
    if why is not None:
        yield line, f"uses {name}: {why}"


def _origins(tree: ast.Module, local: Set[str]) -> dict[str, str]:
    """What the imported names stand for: `dt` for `datetime` after `import datetime as dt`."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                if alias.name not in local:
                    found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module not in local:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _dotted(node: ast.expr, origins: dict[str, str]) -> str | None:
    """The full name of what an imported name, or something of it, stands for."""
    if isinstance(node, ast.Name):
        return origins.get(node.id)
    if isinstance(node, ast.Attribute) and (left := _dotted(node.value, origins)) is not None:
        return f"{left}.{node.attr}"
    return None


def _own_names(tree: ast.Module) -> set[str]:
    """Every name that the script itself gives something to."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case _:
                pass
    return names


def _lines_of_hash_methods(tree: ast.Module) -> set[int]:
    """Lines of `__hash__`, where `hash()` is at home."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__hash__"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
