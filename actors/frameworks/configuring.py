"""What the configurations of all frameworks share: how they are read, and what is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.frameworks.port import BadWorkflow


class Config(BaseModel):
    """A part of a configuration; a key that nobody knows is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def parsed(kind: type[AnyConfig], config: Mapping[str, Any]) -> AnyConfig:
    """The configuration; a `BadWorkflow` names every place that is wrong."""
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise BadWorkflow(
            "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'config'}: {fault['msg']}"
                for fault in faults
            )
        ) from None


def check_models(wanted: Iterable[tuple[str, str]], models: Collection[str]) -> None:
    """Raise `BadWorkflow` where a place names a model that the run does not have."""
    for place, id in wanted:
        if id not in models:
            has = ", ".join(sorted(models)) or "none"
            raise BadWorkflow(f"{place}: the run has no model {id!r}; it has {has}")


def check_unique(place: str, names: Iterable[str]) -> None:
    """Raise `BadWorkflow` where two things have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadWorkflow(f"{place}: two are named {name!r}; give each a name of its own")
        seen.add(name)
