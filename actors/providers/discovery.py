"""Finds model servers on this machine by asking them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.providers.config import ProviderSpec

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
    """A provider of type `openai` for each place where an OpenAI-compatible server answers.

    All are asked at once, so this takes no longer than `patience`; it raises nothing.
    """
    import httpx2

    async def serves(client: httpx2.AsyncClient, url: str) -> bool:
        try:
            async with asyncio.timeout(patience):
                answer = await client.get(f"{url}/models")
            listed = answer.json()["data"]
        except (httpx2.HTTPError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return False
        # Port 8080 in particular is used by many programs that are no model server.
        return answer.is_success and isinstance(listed, list) and all(map(_is_model, listed))

    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client:
        found = await asyncio.gather(*(serves(client, url) for url in places.values()))
    return tuple(
        ProviderSpec(id=id, type="openai", config={"base_url": url})
        for (id, url), there in zip(places.items(), found, strict=True)
        if there
    )


def _is_model(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)
