"""The `script` pattern: an operator's own router, kept with every turn that it decides.

`collect` takes the source that a turn is about to run, `load` runs exactly that source, whatever
lies in the scripts directory by then: what is replayed is what was recorded. A script is code of
the operator and runs with the rights of the room; `load` keeps it repeatable, not harmless.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import Any

import orjson

from actors.routing.faults import describe
from actors.routing.registry import Route
from actors.script_faults import first_fault
from events.canonical import canonical_json
from events.errors import ConfigError

LARGEST = 1024 * 1024
"""Bytes of a script with all its modules at most."""

UNREPEATABLE = frozenset(
    "asyncio concurrent ctypes http multiprocessing sched secrets selectors signal smtplib socket "
    "socketserver sqlite3 ssl subprocess threading time urllib xmlrpc".split()
)
"""Modules of Python that no router can use: what they give is never the same again."""


def collect(directory: Path, entry: str) -> bytes:
    """The source of a script, `module:function`, with all modules of `directory` that it imports.

    Canonical JSON: `{"entry": "module:function", "modules": {name: source}}`. Raises `ConfigError`
    where a module is missing, lies elsewhere, is not Python, may not be imported by a router, or
    plainly cannot be repeated: with the file and the line, and what to do.
    """
    name, function = _split(entry)
    if not directory.is_dir():
        raise ConfigError(f"there is no scripts directory {directory}: create it and put {name}.py")
    root = directory.resolve()
    modules: dict[str, str] = {}
    wanted = [name]
    while wanted:
        module = wanted.pop()
        if module in modules:
            continue
        path = _local(root, module)
        if path is None:
            raise ConfigError(f"there is no script {module}.py in {directory}: put it there")
        modules[module], tree = _parsed(path, module)
        local: set[str] = set()
        for line, imported, names in _imports(tree):
            if _local(root, imported) is not None:
                local.add(imported)
            elif why := _not_importable(imported, names):
                raise _fault(module, line, f"imports {imported!r}, {why}")
        wanted.extend(sorted(local))
        if fault := first_fault(tree, local):
            raise _fault(module, *fault)
        if module == name:
            _check_entry(tree, module, function, modules[module].count("\n") + 1)
    source = canonical_json({"entry": entry, "modules": modules})
    if len(source) > LARGEST:
        raise ConfigError(f"script {entry} has {len(source)} bytes, at most {LARGEST} are allowed")
    return source


def load(source: bytes, entry: str) -> Route:
    """The router of what `collect` gave, in modules of its own.

    Each call runs the modules afresh, so that nothing that one turn leaves in them can be found by
    the next: a replay would not find it. Raises `ConfigError` where the source cannot be run or has
    no such function.
    """
    name, function = _split(entry)
    bundle = _Bundle(sha256(source).hexdigest(), _compiled(source))
    try:
        module = bundle.module(name)
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ConfigError(f"script {entry} cannot be run: {describe(error)}") from error
    route = getattr(module, function, None)
    if not callable(route):
        raise ConfigError(f"script {name} has no function {function!r}")
    found: Route = route
    return found


@lru_cache(maxsize=64)
def _compiled(source: bytes) -> Mapping[str, CodeType]:
    """The code of each module of a bundle."""
    code = {}
    for name, text in _unpacked(source).items():
        try:
            code[name] = compile(text, f"<script {name}>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise ConfigError(f"script {name} is not Python: {describe(error)}") from error
    return code


_RUNNING = RLock()
"""Held while modules are run: a name in `sys.modules` is the one being run."""


class _Bundle:
    """The modules of one source, each run once and in a namespace of its own."""

    def __init__(self, digest: str, code: Mapping[str, CodeType]) -> None:
        self._prefix = f"_script_{digest}"
        self._code = code
        self._modules: dict[str, ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def module(self, name: str) -> ModuleType:
        """The module of that name; runs it the first time."""
        with _RUNNING:
            if name in self._modules:
                return self._modules[name]
            if name not in self._code:
                raise ConfigError(f"the recorded script has no module {name!r}")
            module = self._modules[name] = ModuleType(f"{self._prefix}.{name}")
            module.__dict__["__builtins__"] = self._builtins
            sys.modules[module.__name__] = module  # where dataclasses and pydantic look for it
            try:
                exec(self._code[name], module.__dict__)
            except BaseException:
                del self._modules[name], sys.modules[module.__name__]
                raise
            return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What the `import` statement of these modules calls."""
        if level == 0 and name in self._code:
            return self.module(name)
        if why := _not_importable("." * level + name, fromlist or ()):
            raise ConfigError(f"a script imports {name!r}, {why}")
        return builtins.__import__(name, globals, locals, fromlist or (), level)


def _split(entry: str) -> tuple[str, str]:
    name, colon, function = entry.partition(":")
    if not colon or not name.isidentifier() or not function.isidentifier():
        raise ConfigError(
            f"{entry!r} does not name a script: write 'module:function' for function in module.py, "
            "directly in the scripts directory"
        )
    return name, function


def _local(root: Path, module: str) -> Path | None:
    """The file of a module in the scripts directory itself, or None."""
    if not module.isidentifier():
        return None
    path = root / f"{module}.py"
    if not path.is_file():
        return None
    if path.resolve().parent != root:
        raise ConfigError(f"script {module}.py is a link to outside of {root}: copy it there")
    return path


def _parsed(path: Path, module: str) -> tuple[str, ast.Module]:
    content = path.read_bytes()
    try:
        source = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _fault(module, line, "it is not UTF-8: save it as UTF-8") from None
    before, nul, _ = source.partition("\0")
    if nul:
        raise _fault(module, before.count("\n") + 1, "there is a NUL: take it out")
    try:
        return source, ast.parse(source)
    except SyntaxError as error:
        raise _fault(module, error.lineno, error.msg) from None


def _fault(module: str, line: int | None, what: str) -> ConfigError:
    return ConfigError(f"script {module}.py, line {line or 1}: {what}")


def _check_entry(tree: ast.Module, module: str, function: str, lines: int) -> None:
    """Raise a `ConfigError` where the module has no such function, or one that is not async."""
    if function not in _bound(tree):
        raise _fault(module, lines, f"there is no function {function!r} up to here: define it")
    for node in tree.body:  # a decorator may make anything of a function
        if isinstance(node, ast.FunctionDef) and node.name == function and not node.decorator_list:
            what = f"{function} is not async: write 'async def {function}(turn)'"
            raise _fault(module, node.lineno, what)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Every module that is imported anywhere: the line, and the names that are taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            names = tuple(name.name for name in node.names)
            yield node.lineno, "." * node.level + (node.module or ""), names


def _bound(tree: ast.Module) -> set[str]:
    """The names that a module has when it was run, as far as its text tells."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _not_importable(name: str, names: Sequence[str]) -> str | None:
    """Why a script may not import what is not of its own directory, or None."""
    if name.startswith("."):
        return "which is relative: write 'import x' for x.py in the scripts directory"
    top = name.partition(".")[0]
    if top in UNREPEATABLE:
        return "which gives something else each time: a router waits and draws with turn.* only"
    if top in sys.stdlib_module_names or top == "events":
        return None
    taken = [f"{name}.{each}." for each in names] or [f"{name}."]
    if all(each.startswith("actors.routing.") for each in taken):
        return None
    return (
        "which is neither in the scripts directory nor part of Python, actors.routing or events: "
        "put it there, or do without it"
    )


def _unpacked(source: bytes) -> dict[str, str]:
    try:
        tree: Any = orjson.loads(source)
        modules = {str(name): str(text) for name, text in tree["modules"].items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise ConfigError("the recorded script cannot be read: it is not what was stored") from None
    return modules
