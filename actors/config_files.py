"""How configuration files are read: JSON or YAML, and what is wrong with them in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from events.errors import ConfigError
from events.faults import faults

T = TypeVar("T")


def loaded(path: Path, what: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of the file's text; a `ConfigError` says which file of `what` is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{what} {path} cannot be read: {error}") from None
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def content_of(text: str) -> Any:
    """What is written in JSON or YAML; a `ConfigError` says where it is neither."""
    import yaml

    try:
        return yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ConfigError(f"it is neither JSON nor YAML{where}") from None


def first_fault(error: ValidationError, whole: str = "") -> str:
    """What is wrong first, where, and what to do; never the value, which may be a secret.

    `whole` is how the value itself is called, where that is what is wrong.
    """
    found = error.errors(include_input=False, include_url=False)
    where = ".".join(str(part) for part in found[0]["loc"]) or whole
    if found[0]["type"] == "extra_forbidden":
        return f"unknown key {where!r}: check its spelling, or leave it out"
    if found[0]["type"] == "missing":
        return f"{where!r} is missing"
    message = faults(found)[0].message
    return f"{where}: {message}" if where else message
