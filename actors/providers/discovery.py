"""Finds model servers on this machine by asking them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.providers.config import ProviderSpec, create
from events.errors import ProviderError

PLACES = (
    ProviderSpec(id="ollama", type="ollama", config={"base_url": "http://127.0.0.1:11434"}),
    ProviderSpec(id="lmstudio", type="lmstudio", config={"base_url": "http://127.0.0.1:1234"}),
    ProviderSpec(id="llama_cpp", type="openai", config={"base_url": "http://127.0.0.1:8080/v1"}),
)
"""Where such servers listen unless told otherwise."""

PATIENCE = 0.5  # seconds for the answer of a server on the same machine


async def discover(
    places: Sequence[ProviderSpec] = PLACES, patience: float = PATIENCE
) -> tuple[ProviderSpec, ...]:
    """Those of the places where a server lists its models as its type does.

    All are asked at once, so this takes no longer than `patience`; it raises nothing.
    """
    found = await asyncio.gather(*(_serves(spec, patience) for spec in places))
    return tuple(spec for spec, there in zip(places, found, strict=True) if there)


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
