"""The calls that an actor works on: heartbeats, cancelling, and outcomes repeated until taken.

A call is alive as long as its heartbeats are heard. Its outcome is repeated until the router says
that it is committed or discarded, because what was done cannot be done again for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import ValidationError

from actors import subjects, undeliverable
from actors.bus import Bus, Msg, Subscription, Unreachable, encode
from actors.deltas import DeltaStream
from actors.messages import Ask, CallTool, Heartbeat, Outcome, Receipt, RunWorkflow
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

HEARTBEAT = 1.0  # seconds between two heartbeats of a call
RECEIPT_WITHIN = 4.0  # seconds for the router to answer an outcome before it is sent again
RESEND_PAUSE, LAST_RESEND_PAUSE = 0.2, 5.0  # seconds
REMEMBERED = 4096  # cancelled calls whose question may still be on its way

_STEP = re.compile(r"[A-Za-z0-9_:-]{1,256}")

Key = tuple[str, str, str, int]
"""Session, turn, step, attempt."""

Job = TypeVar("Job")


@dataclass(eq=False, slots=True)
class Call(Generic[Job]):
    """One attempt, from the request to the receipt of its outcome."""

    job: Job
    deltas: DeltaStream
    reply: str
    subject: str
    heartbeat: bytes
    working: bool = True
    """Until there is an outcome."""
    cancelled: bool = False
    begun: bool = False
    resend: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def cancelling(self) -> bool:
        """Whether the cancellation that was caught is of this call, which then ends by itself."""
        task = asyncio.current_task()
        if not self.cancelled or task is None:
            return False
        task.uncancel()
        return True


class Serving(Generic[Job]):
    """All calls of one actor, which logs call `who`.

    `work` gives what came of a call: always something, or None where nobody waits for it; it is
    cancelled where the call is, or the actor stopped. `beat` is called before each heartbeat.
    """

    def __init__(
        self,
        bus: Bus,
        who: str,
        work: Callable[[Key, Call[Job]], Awaitable[Outcome | None]],
        *,
        heartbeat: float = HEARTBEAT,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._who = who
        self._work = work
        self._heartbeat = heartbeat
        self._before = beat
        self._calls: dict[Key, Call[Job]] = {}
        self._cancelled: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._cancels: Subscription | None = None
        self._beating: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._used = 0.0  # time of the event loop

    def __iter__(self) -> Iterator[Call[Job]]:
        return iter(tuple(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def idle(self) -> float:
        """Seconds since it had a call (one is had until its receipt); 0 while it has."""
        return 0.0 if self._calls else asyncio.get_running_loop().time() - self._used

    async def start(self) -> None:
        """Listen for cancelled calls: before one is taken that could not be cancelled."""
        self._beating = asyncio.create_task(self._beat(), name="heartbeats")
        self._used = asyncio.get_running_loop().time()
        self._cancels = await self._bus.subscribe("room.cancel.>", self._on_cancel)

    async def stop(self, within: float) -> None:
        """Finish the calls at work; what is not done in time is abandoned.

        An abandoned call sends no outcome: its heartbeats end.
        """
        if self._cancels is not None:
            await self._cancels.unsubscribe()
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%s: abandoned %d calls", self._who, len(self._calls))
        tasks = [call.task for call in self._calls.values() if call.task is not None]
        if self._beating is not None:
            tasks.append(self._beating)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def takes(self, step: str) -> bool:
        """Whether that can be the key of a step."""
        return _STEP.fullmatch(step) is not None

    def take(
        self,
        request: Ask | CallTool | RunWorkflow,
        begin: Callable[[Key], tuple[Job, DeltaStream]],
        msg: Msg,
    ) -> Awaitable[None] | None:
        """Work on what is requested, once however often it comes: `begin` makes its job."""
        key = (request.session, request.turn, request.step, request.attempt)
        call = self._calls.get(key)
        if call is None:
            call = self._begin(key, request.reply, *begin(key))
            # Its first heartbeat comes with everyone's next one.
            return msg.respond(call.heartbeat) if msg.reply else None
        call.resend.set()  # whoever repeats a request has not heard the outcome
        return self._say(call, msg)

    async def _say(self, call: Call[Job], msg: Msg) -> None:
        await self._bus.publish(call.subject, call.heartbeat)
        await msg.respond(call.heartbeat)

    def _begin(self, key: Key, reply: str, job: Job, deltas: DeltaStream) -> Call[Job]:
        session, turn, step, attempt = key
        beat = Heartbeat(session=session, turn=turn, step=step, attempt=attempt)
        call = self._calls[key] = Call(
            job,
            deltas,
            reply,
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
        # Cancel and request come by different subscriptions, so the cancel may be first.
        self._cancelled[step] = None
        if len(self._cancelled) > REMEMBERED:
            self._cancelled.popitem(last=False)
        for key, call in self._calls.items():
            # A replay has nobody but whoever started it: its outcome is not repeated for others.
            wanted = call.working or call.reply.startswith(subjects.REPLAY)
            if key[:3] == step and wanted and not call.cancelled:
                call.cancelled = True
                if call.begun and call.task is not None:
                    call.task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            if self._bus.connected:
                self._before()
                for call in self:
                    await self._bus.publish(call.subject, call.heartbeat)

    async def _run(self, key: Key, call: Call[Job]) -> None:
        call.begun = True
        try:
            outcome = await self._work(key, call)
            call.working = False
            if outcome is not None:
                await self._deliver(call, outcome)
        finally:
            del self._calls[key]
            self._used = asyncio.get_running_loop().time()
            if not self._calls:
                self._idle.set()

    async def _deliver(self, call: Call[Job], outcome: Outcome) -> None:
        """Send the outcome until a router has it; one that cannot be sent is told as a failure."""
        await call.deltas.flush()
        data, whole = encode(outcome), True
        pause = RESEND_PAUSE
        while True:
            call.resend.clear()
            reply = b""
            try:
                reply = await self._bus.request(call.reply, data, RECEIPT_WITHIN)
                Receipt.model_validate_json(reply)
            except Unreachable as error:
                _log.info("%s: an outcome is not delivered yet: %s", self._who, error)
            except ValidationError:
                _log.warning("%s: this is no receipt: %.200r", self._who, reply)
            except ControlRoomError as error:
                if not whole:
                    raise
                _log.error("%s: an outcome cannot be sent: %s", self._who, error)
                why = f"its outcome of {len(data)} bytes is more than can be sent"
                data, whole = encode(undeliverable.failure(outcome, why)), False
                continue
            else:
                return
            try:
                async with asyncio.timeout(pause * random.uniform(0.5, 1.0)):
                    await call.resend.wait()
            except TimeoutError:
                pause = min(2 * pause, LAST_RESEND_PAUSE)
