"""What the providers tell of their models, for lists that are asked for again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from actors.providers.checking import models_of
from actors.providers.config import Providers

KEPT = 60.0
"""Seconds that the answers are good for: those of providers that gave none, too."""
WITHIN = 5.0
"""Seconds that providers have to tell their models."""


class ModelNames:
    """The answers of all providers, which are asked by one at a time, and once in a while."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._names: Mapping[str, tuple[str, ...]] = {}
        self._asked_at: float | None = None

    async def told(
        self, providers: Providers, environment: Mapping[str, str]
    ) -> Mapping[str, tuple[str, ...]]:
        """By provider, the names of its models; of those that told them in time."""
        clock = asyncio.get_running_loop().time
        async with self._asking:
            if self._asked_at is None or clock() - self._asked_at >= KEPT:
                self._names = await _asked(providers, environment)
                self._asked_at = clock()
            return self._names


async def _asked(
    providers: Providers, environment: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    asking = {
        spec.id: asyncio.create_task(models_of(spec, environment)) for spec in providers.values()
    }
    if not asking:
        return {}
    try:
        await asyncio.wait(asking.values(), timeout=WITHIN)
    finally:
        silent = [task for task in asking.values() if not task.done()]
        for task in silent:
            task.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
    told = {id: task.result() for id, task in asking.items() if task not in silent}
    return {id: names for id, names in told.items() if not isinstance(names, str)}
