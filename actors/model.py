"""The actor of one configured model: takes calls, asks its provider, and reports the outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.attempt import Attempt
from actors.bus import Bus, Msg, Subscription
from actors.deltas import DeltaPublisher, DeltaStream
from actors.desk import Desk
from actors.messages import Ask, Learned, Outcome
from actors.providers.port import Capabilities, Limits, Provider
from actors.serving import HEARTBEAT, Call, Key, Serving
from events.errors import ControlRoomError
from events.store import BlobStore

_log = logging.getLogger(__name__)


class ModelActor:
    """One configured model of one provider. A plain class: what runs it is another's affair.

    `limits` default to the provider's; `heartbeat` is in seconds. The provider is its owner's to
    close. Several actors of one model, in any number of processes, share the calls.
    """

    def __init__(
        self,
        bus: Bus,
        blobs: BlobStore,
        provider: Provider,
        provider_id: str,
        model: str,
        *,
        limits: Limits | None = None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        limits = limits or provider.limits
        self._bus = bus
        self._provider_id = provider_id
        self._model = model
        self._desk = Desk.of(provider, blobs, limits, provider_id, model)
        self._at_first = _capabilities(provider, model)
        self._publisher = DeltaPublisher(bus)
        self._calls: Serving[Attempt] = Serving(
            bus,
            f"{provider_id}/{model}",
            self._outcome,
            heartbeat=heartbeat,
            beat=self._desk.tell_places,
        )
        self._taking: Subscription | None = None
        self._answered = self._failed = 0

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when calls are taken."""
        self._publisher.start()
        await self._calls.start()
        await self.take()

    async def take(self) -> None:
        """Take calls, again after `leave_off`."""
        subject = subjects.model(self._provider_id, self._model)
        self._taking = await self._bus.subscribe(subject, self._on_ask, queue="model")

    async def leave_off(self) -> None:
        """Take no further call; those that came by now are taken, and all go on."""
        taking, self._taking = self._taking, None
        if taking is not None:
            await taking.drain()

    @property
    def idle(self) -> float:
        """Seconds since it had a call (one is had until its receipt); 0 while it has."""
        return self._calls.idle

    async def stop(self, within: float = 5.0) -> None:
        """Take no further call and finish those at work; what is not done in time is abandoned.

        An abandoned call sends no outcome: its heartbeats end, so its router asks again.
        """
        if self._taking is not None:
            await self._taking.unsubscribe()
        await self._calls.stop(within)
        await self._publisher.stop()

    async def health(self) -> dict[str, Any]:
        """What it is doing: numbers of calls, who waits, and whether it can be asked."""
        asking = [call.job for call in self._calls if call.working]
        waiting = sum(attempt.waiting for attempt in asking)
        return {
            "provider": self._provider_id,
            "model": self._model,
            "connected": self._bus.connected,
            "running": len(asking) - waiting,
            "waiting": waiting,
            "undelivered": len(self._calls) - len(asking),
            "answered": self._answered,
            "failed": self._failed,
            **self._desk.report(),
        }

    @property
    def _name(self) -> tuple[str, str]:
        return self._provider_id, self._model

    # --- messages ------------------------------------------------------------------------------

    def _on_ask(self, msg: Msg) -> Awaitable[None] | None:
        try:
            ask = Ask.model_validate_json(msg.data)
        except ValidationError as error:
            _log.error("%s/%s: a question is malformed: %s", *self._name, error.errors()[0]["msg"])
            return None
        if not self._calls.takes(ask.step) or (ask.provider, ask.model) != self._name:
            _log.error("%s/%s: step %.100r is not for this model", *self._name, ask.step)
            return None

        def begin(key: Key) -> tuple[Attempt, DeltaStream]:
            deltas = self._publisher.open(*key)
            return Attempt(self._desk, ask, deltas), deltas

        return self._calls.take(ask, begin, msg)

    # --- one call ------------------------------------------------------------------------------

    async def _outcome(self, key: Key, call: Call[Attempt]) -> Outcome:
        """What came of the call: always something, unless the actor itself is being stopped."""
        session, turn, step, number = key
        attempt = call.job
        try:
            if call.cancelled:
                raise asyncio.CancelledError
            update: dict[str, Any] = {"answered": await attempt.answered()}
            call.working = False
            self._answered += 1
        except asyncio.CancelledError:
            if not call.cancelling():
                raise
            call.working = False
            update = {"discarded": await attempt.discarded()}
        except ControlRoomError as error:
            call.working = False
            self._failed += 1
            update = {"failed": await attempt.failed(error)}
        except Exception as error:
            # Without an outcome the router would ask, and pay, again for what fails again.
            _log.exception("%s/%s: a call failed", *self._name)
            call.working = False
            self._failed += 1
            fault = ControlRoomError(f"the model's actor failed ({type(error).__name__})")
            update = {"failed": await attempt.failed(fault)}
        update["learned"] = self._learned()
        return Outcome(session=session, turn=turn, step=step, attempt=number, **update)

    def _learned(self) -> Learned | None:
        """What the provider knows of the model by now, where it did not know it at first."""
        known = _capabilities(self._desk.provider, self._model)
        if known is None or known == self._at_first:
            return None
        return Learned(provider=self._provider_id, model=self._model, capabilities=known)


def _capabilities(provider: Provider, model: str) -> Capabilities | None:
    """What the provider knows of the model; None where it cannot have such a model."""
    try:
        return provider.capabilities(model)
    except ControlRoomError:
        return None
