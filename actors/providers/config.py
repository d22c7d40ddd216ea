"""Which providers are configured: from the provider file, the environment, and what is built in.

The file is JSON or YAML, `{"providers": [{"id": ..., "type": ..., "config": {...}}]}`. In a string,
`${...}` stands for a secret that is kept elsewhere (see `actors.providers.references`) and is
filled in only when a provider is made, in the process that uses it: what is kept, shown or logged
has the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from actors.config_files import content_of, first_fault, loaded
from actors.providers.http_errors import Secrets
from actors.providers.port import Provider
from actors.providers.references import Discreet, Resolver, check_forms, lacking
from actors.providers.registry import provider_type
from events.errors import ConfigError
from events.values import Value


class ProviderSpec(Value):
    """One configured provider, without any secret that its file does not spell out itself."""

    id: str = Field(min_length=1, max_length=512)
    type: str = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict, repr=False)


class ProviderFile(Value):
    """The whole provider file."""

    providers: tuple[ProviderSpec, ...]


REHEARSAL = ProviderSpec(id="rehearsal", type="rehearsal")
OPENAI = ProviderSpec(id="openai", type="openai", config={"api_key": "${OPENAI_API_KEY}"})


class Providers(Mapping[str, ProviderSpec]):
    """All configured providers by id; every one of them has a known type and known options."""

    def __init__(self, *specs: ProviderSpec) -> None:
        self._by_id = {spec.id: spec for spec in specs}

    def __getitem__(self, id: str) -> ProviderSpec:
        return self._by_id[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, name: str) -> ProviderSpec:
        """The provider of that id, or the only one of that type.

        Raises a `ConfigError` that says what is configured and what to set.
        """
        if spec := self._by_id.get(name):
            return spec
        of_type = [spec for spec in self._by_id.values() if spec.type == name]
        if len(of_type) == 1:
            return of_type[0]
        if of_type:
            ids = ", ".join(spec.id for spec in of_type)
            raise ConfigError(f"several providers have the type {name!r}: name one by id ({ids})")
        how = "set OPENAI_API_KEY, or add it" if name == OPENAI.id else "add it"
        raise ConfigError(
            f"provider {name[:100]!r} is not configured: {how} to the provider file that"
            f" CONTROL_ROOM_PROVIDERS names, or use one of {', '.join(self._by_id)}"
        )

    def with_found(self, found: tuple[ProviderSpec, ...]) -> Providers:
        """These and those found on this machine, whose ids are not taken yet."""
        return Providers(*found, *self._by_id.values())


def configured(path: Path | None, environment: Mapping[str, str]) -> Providers:
    """The providers of the file at `path`, if any, and those that need no file.

    `rehearsal` always exists, `openai` where OPENAI_API_KEY is set; the file may define both
    otherwise. Raises a `ConfigError` that names the file, the provider and what is wrong with it.
    """
    specs = [REHEARSAL]
    if environment.get("OPENAI_API_KEY"):
        specs.append(OPENAI)
    if path is not None:
        specs += load(path)
    return Providers(*specs)


def load(path: Path) -> tuple[ProviderSpec, ...]:
    """The providers that the file at `path` defines, checked."""
    return loaded(path, "the provider file", parse)


def parse(text: str) -> tuple[ProviderSpec, ...]:
    """The providers that a provider file with this text defines, checked."""
    content = content_of(text)
    try:
        file = ProviderFile.model_validate(content)
    except ValidationError as error:
        raise ConfigError(first_fault(error, "the file")) from None
    seen: set[str] = set()
    for spec in file.providers:
        if spec.id in seen:
            raise ConfigError(f"two providers are called {spec.id!r}: give each its own id")
        seen.add(spec.id)
        check(spec)
    return file.providers


def check(spec: ProviderSpec) -> None:
    """Raise a `ConfigError` where the type or an option is unknown or a `${...}` is malformed."""
    _options(spec, spec.config)
    check_forms(spec.config, f"provider {spec.id!r}")


def create(spec: ProviderSpec, environment: Mapping[str, str]) -> Provider:
    """The provider itself, with every `${...}` read now; it may wait for files and for Vault.

    A `ConfigError` names what cannot be read, the provider that wants it, and where; none holds
    what was read.
    """
    check(spec)
    resolver = Resolver(f"provider {spec.id!r}", environment)
    try:
        config = resolver.resolved(spec.config)
        provider: Provider = provider_type(spec.type)(spec.id, _options(spec, config))
    except ConfigError as error:
        message = Secrets(resolver.found).hidden(error.message)
        raise ConfigError(message) from None
    finally:
        resolver.close()
    if isinstance(provider, Discreet):
        provider.hide(*resolver.found)
    return provider


def missing(spec: ProviderSpec, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the provider needs and does not have.

    Environment variables by their name, files that cannot be read as `file:/path`. Whether Vault
    has a secret is not asked.
    """
    return lacking(spec.config, environment)


def _options(spec: ProviderSpec, config: Any) -> Any:
    try:
        return provider_type(spec.type).Options.model_validate(config)
    except ValidationError as error:
        raise ConfigError(f"provider {spec.id!r}: {first_fault(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"provider {spec.id!r}: {error.message}") from None
