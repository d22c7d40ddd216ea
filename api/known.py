"""Which providers this room knows: those configured, and those found when it started."""

from __future__ import annotations

import contextlib
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from actors.providers.config import Providers, ProviderSpec, configured
from api.settings import Settings

_FOUND: TypeAdapter[tuple[ProviderSpec, ...]] = TypeAdapter(tuple[ProviderSpec, ...])


def found_path(settings: Settings) -> Path:
    """The file that names the model servers found on this machine at the room's start."""
    return settings.run_dir / "found-providers.json"


def write_found(settings: Settings, found: tuple[ProviderSpec, ...]) -> None:
    """Keep for the other processes what was found."""
    path = found_path(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps([spec.model_dump(mode="json") for spec in found]))


def known_providers(settings: Settings) -> Providers:
    """The configured providers, and those found when the room started."""
    providers = configured(settings.providers_path, settings.environment)
    with contextlib.suppress(FileNotFoundError):
        return providers.with_found(_FOUND.validate_json(found_path(settings).read_bytes()))
    return providers
