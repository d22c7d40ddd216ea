"""Finds model servers on this machine by asking them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.providers.config import ProviderSpec, create
from events.errors import ProviderError

PLACES = {
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llama_cpp": "http://127.0.0.1:8080/v1",
}
"""Provider id, and where such a server listens unless told otherwise."""

PATIENCE = 0.5  # seconds for the answer of a server on the same machine


async def discover(
    places: Mapping[str, str] = PLACES, patience: float = PATIENCE
) -> tuple[ProviderSpec, ...]:
    """A provider of type `openai` for each place where a server lists its models as OpenAI does.

    All are asked at once, so this takes no longer than `patience`; it raises nothing.
    """
    specs = [
        ProviderSpec(id=id, type="openai", config={"base_url": url}) for id, url in places.items()
    ]
    found = await asyncio.gather(*(_serves(spec, patience) for spec in specs))
    return tuple(spec for spec, there in zip(specs, found, strict=True) if there)


async def _serves(spec: ProviderSpec, patience: float) -> bool:
    provider = create(spec, {})
    try:
        # A program that is no model server may well use one of these ports, 8080 in particular.
        await asyncio.wait_for(provider.models(), patience)
    except (ProviderError, TimeoutError):
        return False
    finally:
        await provider.close()
    return True
