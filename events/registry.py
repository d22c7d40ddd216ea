"""The closed registry: which stored types and versions this release reads, and how.

Nothing that a database names is ever imported; what is not here raises `UnknownEvent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json, to_json

from events.errors import ConfigError, UnknownEvent
from events.types import PAYLOADS, Payload

P = TypeVar("P", bound=Payload)

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns the JSON of a payload's version n into that of version n + 1."""

UPCASTS: Mapping[tuple[str, int], Upcast] = {}
"""By type name and the version that the upcast reads. Every release so far wrote version 1."""


class Body(BaseModel, Generic[P]):
    """What the payload part of a stored form says, next to the columns and the clear header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    by: str
    command: str | None = None
    step: str | None = None
    cause: int | None = None
    data: P


class Registry:
    """Knows every payload class by its type name, and how to reach it from older versions.

    `validators` reads the bodies of what is current, by type and version, without detour.
    Raises `ConfigError` where two classes share a name or a version has no upcast to the next.
    """

    def __init__(
        self,
        payloads: Iterable[type[Payload]] = PAYLOADS,
        upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS,
    ) -> None:
        self._payloads: dict[str, type[Payload]] = {}
        self._bodies: dict[str, type[Body[Any]]] = {}
        self.validators: dict[tuple[str, int], Callable[[bytes], Body[Any]]] = {}
        self._upcasts = dict(upcasts)
        for payload in payloads:
            if payload.type in self._payloads:
                raise ConfigError(f"two event classes are called {payload.type!r}: rename one")
            for version in range(1, payload.version):
                if (payload.type, version) not in self._upcasts:
                    raise ConfigError(
                        f"{payload.type} is at version {payload.version}, but nothing upcasts "
                        f"version {version}: add it to UPCASTS"
                    )
            self._payloads[payload.type] = payload
            body: type[Body[Any]] = Body[payload]  # type: ignore[valid-type]
            self._bodies[payload.type] = body
            validate = body.__pydantic_validator__.validate_json
            self.validators[payload.type, payload.version] = validate

    def knows(self, payload: Payload) -> bool:
        """Whether an event that carries `payload` could be read again."""
        return self._payloads.get(payload.type) is type(payload)

    def load(self, type_name: str, version: int, body: bytes) -> Body[Any]:
        """Validate the JSON of a body, upcast first where it is of an older version.

        Raises `UnknownEvent` for a type or version of another release, and pydantic's
        `ValidationError` or another `ValueError` where the JSON is not a body of that type.
        """
        model = self._bodies.get(type_name)
        if model is None:
            raise UnknownEvent(
                f"event type {type_name!r} is not known to this release: "
                "it was written by another one, use that"
            )
        current = self._payloads[type_name].version
        if version != current:
            body = self._upcast(type_name, version, current, body)
        return model.__pydantic_validator__.validate_json(body)  # type: ignore[no-any-return]

    def _upcast(self, type_name: str, version: int, current: int, body: bytes) -> bytes:
        if not 1 <= version < current:
            raise UnknownEvent(
                f"{type_name} version {version} is not known to this release, "
                f"which reads up to version {current}: use the release that wrote it"
            )
        tree = from_json(body, allow_inf_nan=True)
        if not isinstance(tree, dict) or not isinstance(tree.get("data"), dict):
            raise ValueError("the body is not an object with an object 'data'")
        data = tree["data"]
        for older in range(version, current):
            try:
                data = self._upcasts[type_name, older](data)
            except (LookupError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"what is stored as version {older} is not of that version "
                    f"({type(error).__name__}: {error})"
                ) from error
        return to_json({**tree, "data": data}, inf_nan_mode="constants")


def first_error(error: ValueError) -> str:
    """What is wrong, in one line and without the values themselves."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
