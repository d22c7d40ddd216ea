"""Routers that an operator wrote: their source is recorded, and only what was recorded runs.

A script is a module in the room's folder of scripts. With it goes every module of that folder which
it imports, directly or not; other imports (the standard library, `actors.routing`, `events`) are
resolved as usual.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson

from actors.routing.registry import Route
from events.canonical import canonical_json
from events.errors import ConfigError

CACHED = 64
"""Sources whose modules are kept after they were executed."""


def collect(folder: Path, entry: str) -> bytes:
    """The source of `entry` (`module:function`) and of the local modules that it imports.

    Canonical JSON, `{"entry": ..., "modules": {name: source}}`, the same bytes for the same source.
    Raises a `ConfigError` that says what to do where a module is not in `folder` or cannot be read.
    """
    name = entry.partition(":")[0]
    modules: dict[str, str] = {}
    wanted = [name]
    while wanted:
        current = wanted.pop()
        if current in modules:
            continue
        path = _path(folder, current)
        if path is None:
            raise ConfigError(
                f"there is no script {current!r}: put {current.replace('.', '/')}.py into "
                f"{folder}, or set CONTROL_ROOM_SCRIPTS to the folder that holds it"
            )
        modules[current] = source = _read(path)
        wanted += [other for other in _imported(current, source) if _path(folder, other)]
    return canonical_json({"entry": entry, "modules": modules})


def load(source: bytes, entry: str) -> Route:
    """The router `entry` of a source that `collect` gave; it reads nothing from disk.

    Raises a `ConfigError` where the source does not compile or lacks the function.
    """
    digest = sha256(source).hexdigest()
    bundle = _CACHE.get(digest)
    if bundle is None:
        bundle = _CACHE[digest] = _Bundle(orjson.loads(source)["modules"], digest)
        while len(_CACHE) > CACHED:
            _CACHE.popitem(last=False)
    name, _, function = entry.partition(":")
    route = getattr(bundle.module(name), function, None)
    if not callable(route):
        raise ConfigError(f"script {name!r} has no function {function!r}")
    return route  # type: ignore[no-any-return]


class _Bundle:
    """Modules made of recorded source, apart from those of the process."""

    def __init__(self, sources: dict[str, str], digest: str) -> None:
        self._sources = sources
        self._digest = digest[:12]
        self._modules: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        """The module of that name, executed when first wanted."""
        if name in self._modules:
            return self._modules[name]
        if name not in self._sources:
            raise ConfigError(f"the recorded script does not hold module {name!r}")
        module = ModuleType(name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        self._modules[name] = module
        try:
            code = compile(self._sources[name], f"<script {name} {self._digest}>", "exec")
            exec(code, module.__dict__)  # the operator's own code, or one whose hash is trusted
        except Exception as error:
            del self._modules[name]
            raise ConfigError(f"script {name!r}: {type(error).__name__}: {error}") from error
        return module

    def _import(
        self, name: str, globals_: Any = None, locals_: Any = None, names: Any = (), level: int = 0
    ) -> ModuleType:
        if level == 0 and name in self._sources:
            module = self.module(name)
            for attribute in names or ():
                if f"{name}.{attribute}" in self._sources:
                    setattr(module, attribute, self.module(f"{name}.{attribute}"))
            return module if names or "." not in name else self.module(name.partition(".")[0])
        return builtins.__import__(name, globals_, locals_, names or (), level)


_CACHE: OrderedDict[str, _Bundle] = OrderedDict()


def _path(folder: Path, module: str) -> Path | None:
    """The file of a module in `folder`, or None where it has none there."""
    root = folder.resolve()
    if module.partition(".")[0] in sys.stdlib_module_names:
        return None
    base = root.joinpath(*module.split("."))
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if path.is_file() and path.resolve().is_relative_to(root):
            return path
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"script {path.name} cannot be read: {error}") from None


def _imported(module: str, source: str) -> list[str]:
    """Names of the modules that a source may import, in order."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ConfigError(f"script {module!r}, line {error.lineno}: {error.msg}") from None
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found[node.module] = None
            found |= dict.fromkeys(f"{node.module}.{alias.name}" for alias in node.names)
    return list(found)
