"""What `${...}` in the configuration of a provider stands for: a secret that is kept elsewhere.

`${NAME}` is an environment variable, `${file:/path}` the content of a file without the line break
at its end, `${vault:mount/path#field}` a field of a secret in Vault. They are read anew whenever a
provider is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from actors.providers.vault import Vault, lacking_settings
from events.errors import ConfigError

LONGEST_FILE: Final = 64 * 1024  # bytes

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IN_VAULT = re.compile(r"([^/#\s]+/[^#\s]*[^/#\s])#([^#\s]+)")


@runtime_checkable
class Discreet(Protocol):
    """A provider whose errors can be kept free of what stood for a reference."""

    def hide(self, *texts: str) -> None:
        """Say none of these in an error."""


def references(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Each `${...}` within `value`: the place where it stands, and what is in its braces."""
    if isinstance(value, str):
        yield from ((place, match[1]) for match in _REFERENCE.finditer(value))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from references(each, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from references(each, f"{place}.{index}")


def _check_form(reference: str) -> None:
    kind, colon, rest = reference.partition(":")
    said = f"'${{{reference}}}'"
    if not colon:
        if not _VARIABLE.fullmatch(reference):
            raise ConfigError(f"{said} is not the name of an environment variable")
    elif kind == "file":
        if not Path(rest).is_absolute():
            raise ConfigError(f"{said} has to name a file by its whole path: ${{file:/path}}")
    elif kind == "vault":
        if not _IN_VAULT.fullmatch(rest):
            raise ConfigError(f"{said} has to be ${{vault:mount/path#field}}")
    else:
        raise ConfigError(f"{said} is neither ${{NAME}}, ${{file:/path}} nor ${{vault:...}}")


def check_forms(value: Any, owner: str) -> None:
    """Raise a `ConfigError` where a `${...}` within the owner's `value` can stand for nothing."""
    for place, reference in references(value):
        try:
            _check_form(reference)
        except ConfigError as error:
            raise ConfigError(f"{owner}, {place}: {error.message}") from None


def lacking(value: Any, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What has to be set or put there before each `${...}` within `value` can be read.

    Environment variables by their name, files that cannot be read as `file:/path`. Whether Vault
    has a secret is not asked.
    """
    names = (
        name for _, reference in references(value) for name in _lacking(reference, environment)
    )
    return tuple(dict.fromkeys(names))


def _lacking(reference: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    kind, colon, rest = reference.partition(":")
    if not colon:
        return () if environment.get(reference) else (reference,)
    if kind == "file":
        return () if os.access(rest, os.R_OK) else (reference,)
    return lacking_settings(environment)


class Resolver:
    """Fills in references for `owner`, as errors call it; `found` are the texts so far."""

    def __init__(self, owner: str, environment: Mapping[str, str]) -> None:
        self.found: list[str] = []
        self._owner = owner
        self._environment = environment
        self._vault = Vault(environment)

    def resolved(self, value: Any, place: str = "") -> Any:
        """`value` with every reference filled in.

        A `ConfigError` names the owner, the place, and what cannot be read; never a secret.
        """
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: self._text(match[1], place), value)
        if isinstance(value, Mapping):
            return {
                key: self.resolved(each, f"{place}.{key}" if place else str(key))
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.resolved(each, f"{place}.{index}") for index, each in enumerate(value)]
        return value

    def close(self) -> None:
        """Give back connections."""
        self._vault.close()

    def _text(self, reference: str, place: str) -> str:
        kind, colon, rest = reference.partition(":")
        who = self._owner
        if not colon:
            text = self._environment.get(reference, "")
            if not text:
                raise ConfigError(
                    f"{who} needs the environment variable {reference} for {place}: set it"
                )
        else:
            try:
                text = _content(rest) if kind == "file" else self._in_vault(rest)
            except ConfigError as error:
                raise ConfigError(
                    f"{who}, {place}: ${{{reference}}} cannot be read: {error.message}"
                ) from None
        self.found.append(text)
        return text

    def _in_vault(self, rest: str) -> str:
        path, _, field = rest.partition("#")
        text = self._vault.field(path, field)
        if not text:
            raise ConfigError(f"its {field!r} is empty")
        return text


def _content(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"{why}: check that it is there and may be read") from None
    except UnicodeDecodeError:
        raise ConfigError("it is not text in UTF-8") from None
    if len(content) > LONGEST_FILE:
        raise ConfigError(f"it has more than {LONGEST_FILE} bytes")
    if not text:
        raise ConfigError("it is empty")
    return text
