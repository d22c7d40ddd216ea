"""The actor of one configured model: takes calls, asks its provider, and reports what came of it.

A call is alive as long as its heartbeats are heard. Its outcome is repeated until the router says
that it is committed or discarded, because it was paid for.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from actors import subjects
from actors.attempt import Attempt
from actors.bus import Bus, Msg, Subscription, Unreachable, encode
from actors.deltas import DeltaPublisher
from actors.desk import Desk
from actors.messages import Ask, Heartbeat, Learned, Outcome, Receipt
from actors.providers.port import Capabilities, Limits, Provider
from events.errors import ControlRoomError
from events.store import BlobStore

_log = logging.getLogger(__name__)

HEARTBEAT = 1.0  # seconds between two heartbeats of a call
RECEIPT_WITHIN = 4.0  # seconds for the router to answer an outcome before it is sent again
RESEND_PAUSE, LAST_RESEND_PAUSE = 0.2, 5.0  # seconds
REMEMBERED = 4096  # cancelled calls whose question may still be on its way

_STEP = re.compile(r"[A-Za-z0-9_:-]{1,256}")

Key = tuple[str, str, str, int]
"""Session, turn, step, attempt."""


@dataclass(eq=False, slots=True)
class _Call:
    """One attempt, from the question to the receipt of its outcome."""

    attempt: Attempt
    subject: str
    heartbeat: bytes
    asking: bool = True
    """Until there is an outcome."""
    cancelled: bool = False
    begun: bool = False
    resend: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


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
        self._heartbeat = heartbeat
        self._desk = Desk.of(provider, blobs, limits, provider_id, model)
        self._at_first = _capabilities(provider, model)
        self._publisher = DeltaPublisher(bus)
        self._calls: dict[Key, _Call] = {}
        self._cancelled: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._beating: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._used = 0.0  # time of the event loop
        self._answered = self._failed = 0

    # --- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when calls are taken."""
        self._publisher.start()
        self._beating = asyncio.create_task(self._beat(), name="heartbeats")
        self._used = asyncio.get_running_loop().time()
        # First, so that no call is taken that could not be cancelled.
        self._subscriptions = [await self._bus.subscribe("room.cancel.>", self._on_cancel)]
        await self.take()

    async def take(self) -> None:
        """Take calls, again after `leave_off`."""
        subject = subjects.model(self._provider_id, self._model)
        self._subscriptions.append(await self._bus.subscribe(subject, self._on_ask, queue="model"))

    async def leave_off(self) -> None:
        """Take no further call; those that came by now are taken, and all go on."""
        await self._subscriptions.pop().drain()

    @property
    def idle(self) -> float:
        """Seconds since it had a call (one is had until its receipt); 0 while it has."""
        return 0.0 if self._calls else asyncio.get_running_loop().time() - self._used

    async def stop(self, within: float = 5.0) -> None:
        """Take no further call and finish those at work; what is not done in time is abandoned.

        An abandoned call sends no outcome: its heartbeats end, so its router asks again.
        """
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%s/%s: abandoned %d calls", *self._name, len(self._calls))
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        if self._beating is not None:
            tasks.append(self._beating)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._publisher.stop()

    async def health(self) -> dict[str, Any]:
        """What it is doing: numbers of calls, who waits, and whether it can be asked."""
        asking = [call for call in self._calls.values() if call.asking]
        waiting = sum(call.attempt.waiting for call in asking)
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
        if not _STEP.fullmatch(ask.step) or (ask.provider, ask.model) != self._name:
            _log.error("%s/%s: step %.100r is not for this model", *self._name, ask.step)
            return None
        key = (ask.session, ask.turn, ask.step, ask.attempt)
        call = self._calls.get(key)
        if call is None:
            call = self._take(key, ask)  # its first heartbeat comes with everyone's next one
            return msg.respond(call.heartbeat) if msg.reply else None
        call.resend.set()  # whoever repeats a question has not heard the outcome
        return self._say(call, msg)

    async def _say(self, call: _Call, msg: Msg) -> None:
        await self._bus.publish(call.subject, call.heartbeat)
        await msg.respond(call.heartbeat)

    def _take(self, key: Key, ask: Ask) -> _Call:
        session, turn, step, attempt = key
        beat = Heartbeat(session=session, turn=turn, step=step, attempt=attempt)
        call = self._calls[key] = _Call(
            Attempt(self._desk, ask, self._publisher.open(*key)),
            subjects.call(session, turn, step),
            encode(beat),
            cancelled=key[:3] in self._cancelled,
        )
        self._idle.clear()
        call.task = asyncio.create_task(self._run(key, call), name=f"call {step}")
        return call

    def _on_cancel(self, msg: Msg) -> None:
        parts = msg.subject.split(".")
        if len(parts) != 5:
            return
        step = (parts[2], parts[3], parts[4])
        # Cancel and question come by different subscriptions, so the cancel may be first.
        self._cancelled[step] = None
        if len(self._cancelled) > REMEMBERED:
            self._cancelled.popitem(last=False)
        for key, call in self._calls.items():
            if key[:3] == step and call.asking and not call.cancelled:
                call.cancelled = True
                if call.begun and call.task is not None:
                    call.task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            if self._bus.connected:
                self._desk.tell_places()
                for call in tuple(self._calls.values()):
                    await self._bus.publish(call.subject, call.heartbeat)

    # --- one call ------------------------------------------------------------------------------

    async def _run(self, key: Key, call: _Call) -> None:
        call.begun = True
        try:
            outcome = await self._outcome(key, call)
            await self._deliver(call, outcome)
        finally:
            del self._calls[key]
            self._used = asyncio.get_running_loop().time()
            if not self._calls:
                self._idle.set()

    async def _outcome(self, key: Key, call: _Call) -> Outcome:
        """What came of the call: always something, unless the actor itself is being stopped."""
        session, turn, step, number = key
        attempt = call.attempt
        try:
            if call.cancelled:
                raise asyncio.CancelledError
            update: dict[str, Any] = {"answered": await attempt.answered()}
            call.asking = False
            self._answered += 1
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not call.cancelled or task is None:
                raise
            task.uncancel()
            call.asking = False
            update = {"discarded": await attempt.discarded()}
        except ControlRoomError as error:
            call.asking = False
            self._failed += 1
            update = {"failed": await attempt.failed(error)}
        except Exception as error:
            # Without an outcome the router would ask, and pay, again for what fails again.
            _log.exception("%s/%s: a call failed", *self._name)
            call.asking = False
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

    async def _deliver(self, call: _Call, outcome: Outcome) -> None:
        """Send the outcome until a router has it."""
        reply_to = call.attempt.ask.reply
        await call.attempt.deltas.flush()
        data = encode(outcome)
        pause = RESEND_PAUSE
        while True:
            call.resend.clear()
            reply = b""
            try:
                reply = await self._bus.request(reply_to, data, RECEIPT_WITHIN)
                Receipt.model_validate_json(reply)
            except Unreachable as error:
                _log.info("%s/%s: an outcome is not delivered yet: %s", *self._name, error)
            except ValidationError:
                _log.warning("%s/%s: this is no receipt: %.200r", *self._name, reply)
            else:
                return
            try:
                async with asyncio.timeout(pause * random.uniform(0.5, 1.0)):
                    await call.resend.wait()
            except TimeoutError:
                pause = min(2 * pause, LAST_RESEND_PAUSE)


def _capabilities(provider: Provider, model: str) -> Capabilities | None:
    """What the provider knows of the model; None where it cannot have such a model."""
    try:
        return provider.capabilities(model)
    except ControlRoomError:
        return None
