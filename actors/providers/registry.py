"""Which types of providers there are, and where their code is; nothing is imported before its use.

A provider from another distribution registers its class in the entry-point group
`control_room.providers`, under the name of its type. Such a class has `Options`, a subclass of
`actors.providers.options.Options`, is made as `cls(id, options)` with every `${NAME}` filled in,
and implements `actors.providers.port.Provider`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from actors.providers import options
from actors.providers.port import Provider
from events.errors import ConfigError

GROUP = "control_room.providers"

BUILT_IN = {
    "llama_cpp": "actors.providers.llama_cpp:LlamaCppProvider",
    "generic_http": "actors.providers.generic_http:GenericHttpProvider",
    "anthropic": "actors.providers.anthropic:AnthropicProvider",
    "azure_openai": "actors.providers.azure_openai:AzureProvider",
    "lmstudio": "actors.providers.lmstudio:LMStudioProvider",
    "huggingface": "actors.providers.huggingface:HuggingFaceProvider",
    "nvidia": "actors.providers.nvidia:NvidiaProvider",
    "ollama": "actors.providers.ollama:OllamaProvider",
    "oobabooga": "actors.providers.oobabooga:OobaboogaProvider",
    "openai": "actors.providers.openai:OpenAIProvider",
    "rehearsal": "actors.providers.rehearsal:RehearsalProvider",
}


class ProviderType(Protocol):
    """A class of providers."""

    Options: type[options.Options]

    def __call__(self, id: str, options: Any) -> Provider:
        """The provider of that id."""
        ...


def known_types() -> tuple[str, ...]:
    """The names of all types, in order."""
    return tuple(sorted({*BUILT_IN, *entry_points(group=GROUP).names}))


def provider_type(name: str) -> ProviderType:
    """The class that implements type `name`; a `ConfigError` lists the types where there is none.

    A built-in type cannot be replaced from outside.
    """
    if place := BUILT_IN.get(name):
        module, _, attribute = place.partition(":")
        return cast(ProviderType, getattr(import_module(module), attribute))
    for entry in entry_points(group=GROUP, name=name):
        try:
            return cast(ProviderType, entry.load())
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"provider type {name!r} ({entry.value}) cannot be imported: {error}"
            ) from error
    raise ConfigError(
        f"there is no provider type {name!r}: use one of {', '.join(known_types())}, or install the"
        f" package that brings it (entry-point group {GROUP})"
    )
