"""A process's models: their actors, and one provider with its connection pool for each id."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.addresses import ModelAddress
from actors.bus import Bus, Msg, Subscription
from actors.messages import Ensure, Gone, Problem, Reply, Retire, Retired
from actors.model import ModelActor
from actors.providers.config import Providers, create
from actors.providers.port import Provider
from actors.reports import tell
from events.errors import ConfigError, ControlRoomError
from events.store import BlobStore

_log = logging.getLogger(__name__)

LEAVE = 1.0
"""Seconds between the word that a host ends and its end: what is on its way to it still comes."""


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
            wanted = Ensure.model_validate_json(msg.data).actor
            if not isinstance(wanted, ModelAddress):
                raise ConfigError(f"{wanted} is no model")
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
        self._telling = None
        self._models.clear()
        self._providers.clear()

    async def retire(self, idle: float) -> bool:
        """Let go of all models where none had a call for `idle` seconds: whether it did.

        Routers are told first, so that they have an actor started before they ask again.
        """
        async with self._lock:
            if self.idle < idle or not self._bus.connected:
                return False
            actors = tuple(self._models.values())
            for provider, model in self._models:
                gone = Gone(actor=ModelAddress(provider, model))
                await self._bus.publish(subjects.GONE, gone)
            await asyncio.sleep(LEAVE)
            await asyncio.gather(*(actor.leave_off() for actor in actors))
            if self.idle < idle:  # a question came after all
                await asyncio.gather(*(actor.take() for actor in actors))
                return False
            await self.stop()
            return True

    async def answer_retire(self, msg: Msg) -> None:
        """Answer a request to let go of the models."""
        wanted = Retire.model_validate_json(msg.data)
        await msg.respond(Retired(done=await self.retire(wanted.idle)))

    @property
    def idle(self) -> float:
        """Seconds since one of its models had a call; infinite where it has no model."""
        return min((actor.idle for actor in self._models.values()), default=math.inf)

    async def _tell(self, msg: Msg) -> None:
        await tell(self._bus, msg, [await actor.health() for actor in self._models.values()])

    async def health(self) -> dict[str, Any]:
        """Provider and model of every actor here, what each says of itself, and `idle` seconds."""
        return {
            "idle": self.idle,
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
