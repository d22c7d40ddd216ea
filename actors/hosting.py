"""A process's models: their actors, and one provider with its connection pool for each id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.bus import Bus, Msg, Subscription
from actors.messages import Ensure, Problem, Reply
from actors.model import ModelActor
from actors.providers.config import Providers, create
from actors.providers.port import Provider
from actors.reports import tell
from events.errors import ConfigError, ControlRoomError
from events.store import BlobStore

_log = logging.getLogger(__name__)


class ModelHost:
    """Runs the actors of some models side by side."""

    def __init__(
        self, bus: Bus, blobs: BlobStore, providers: Providers, environment: Mapping[str, str]
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._specs = providers
        self._environment = environment
        self._providers: dict[str, Provider] = {}
        self._models: dict[tuple[str, str], ModelActor] = {}
        self._lock = asyncio.Lock()
        self._telling: Subscription | None = None

    async def ensure(self, provider: str, model: str) -> None:
        """Returns when the model's actor takes calls; raises `ConfigError` where it cannot."""
        async with self._lock:
            if (provider, model) in self._models:
                return
            spec = self._specs.find(provider)
            adapter = self._providers.get(spec.id)
            if adapter is None:
                adapter = await asyncio.to_thread(create, spec, self._environment)
                self._providers[spec.id] = adapter
            actor = ModelActor(self._bus, self._blobs, adapter, provider, model)
            await actor.start()
            self._models[provider, model] = actor
            if self._telling is None:
                self._telling = await self._bus.subscribe(subjects.REPORT, self._tell)

    async def serve(self, msg: Msg) -> None:
        """Answer a request to have a model running."""
        try:
            wanted = Ensure.model_validate_json(msg.data)
            await self.ensure(wanted.provider, wanted.model)
        except (ControlRoomError, ValidationError) as error:
            await msg.respond(refusal(error))
        else:
            await msg.respond(Reply())

    async def stop(self) -> None:
        """Finish what is under way, within bounds, and give back connections."""
        if self._telling is not None:
            await self._telling.unsubscribe()
        await asyncio.gather(*(actor.stop() for actor in self._models.values()))
        await asyncio.gather(*(adapter.close() for adapter in self._providers.values()))

    async def _tell(self, msg: Msg) -> None:
        await tell(self._bus, msg, [await actor.health() for actor in self._models.values()])

    async def health(self) -> dict[str, Any]:
        """Provider and model of every actor here, and what each says of itself."""
        return {
            "models": [list(name) for name in self._models],
            "actors": [await actor.health() for actor in self._models.values()],
        }


def refusal(error: Exception) -> Reply:
    """An error as an answer that travels; `raised` turns it back."""
    status = 422 if isinstance(error, ConfigError | ValidationError) else 503
    return Reply(problem=Problem(status=status, error=type(error).__name__, message=str(error)))


def raised(reply: Reply) -> None:
    """Raise what the other side refused with."""
    if reply.problem is not None:
        kind = ConfigError if reply.problem.status == 422 else ControlRoomError
        raise kind(reply.problem.message, retryable=reply.problem.status == 503)
