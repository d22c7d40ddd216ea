"""Calls in flight: sent to whom they are for, listened for, and given up when nothing is heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors import subjects
from actors.addresses import Address
from actors.bus import Bus, Msg
from actors.messages import Ask, CallTool, Gone, Heartbeat, RunWorkflow
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

Key = tuple[str, str, str]
"""Session, turn, step."""

HEARTBEAT = 1.0
"""Seconds between two heartbeats of an actor."""
SILENCE = 3
"""So many heartbeats missed: nobody works on the call."""

Ensure = Callable[[Address], Awaitable[None]]
"""Returns when an actor of that address listens; raises where there can be none."""

Request = Ask | CallTool | RunWorkflow


@dataclass(slots=True)
class Call:
    """A call and when something was last heard of it (time of the event loop)."""

    address: Address
    attempt: int
    heard: float
    silent: bool = False
    """Whether nothing was heard of it since it was said to be silent."""


class Calls:
    """The calls of one router.

    `silent(key, attempt)` is called once for each call of which nothing was heard for `SILENCE`
    heartbeats while the router's own connection stood; `unservable(key, attempt, error)` where no
    actor could be had for its model; `unsent(key, attempt)` where a call was cancelled before.
    """

    def __init__(
        self,
        bus: Bus,
        ensure: Ensure,
        *,
        silent: Callable[[Key, int], None],
        unservable: Callable[[Key, int, ControlRoomError], None],
        unsent: Callable[[Key, int], None] = lambda key, attempt: None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._bus = bus
        self._ensure = ensure
        self._silent = silent
        self._unservable = unservable
        self._unsent = unsent
        self._heartbeat = heartbeat
        self._calls: dict[Key, Call] = {}
        self._known: set[Address] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._starts: dict[Address, asyncio.Task[None]] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for heartbeats, and for actors that end."""
        await self._bus.subscribe("room.call.>", self._heard)
        await self._bus.subscribe(subjects.GONE, self._gone)
        self._ticker = asyncio.create_task(self._tick(), name="silent-calls")

    async def stop(self) -> None:
        """Stop listening; calls go on without us."""
        tasks = [*self._sends, *self._starts.values(), *([self._ticker] if self._ticker else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def listen(self, key: Key, address: Address, attempt: int) -> None:
        """Watch a call that somebody may be working on already.

        Its actor may be gone like the router that sent it: it is started meanwhile.
        """
        self._watch(key, address, attempt)
        self.warm(address)

    def _watch(self, key: Key, address: Address, attempt: int) -> None:
        self._calls[key] = Call(address, attempt, asyncio.get_running_loop().time())

    async def send(self, request: Request) -> None:
        """Send the request to its actor, starting one first where none is known to listen."""
        key, address = (request.session, request.turn, request.step), request.address
        self._watch(key, address, request.attempt)
        if address in self._known:
            await self._bus.publish(address.subject, request)
            return
        task = asyncio.create_task(self._ensure_and_send(key, request), name=repr(key))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    def warm(self, address: Address) -> None:
        """Have an actor started before it is needed; a failure shows when it is."""
        if address not in self._known:
            task = asyncio.create_task(self._warm(address))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def ensure(self, address: Address) -> None:
        """Have an actor there; whoever waits for the same one, waits together."""
        if address not in self._known:
            await self._start(address)

    async def _warm(self, address: Address) -> None:
        try:
            await self._start(address)
        except ControlRoomError as error:
            _log.warning("no actor for %s yet: %s", address, error)

    def address(self, key: Key) -> Address | None:
        """Whom the call was sent to, while it is watched."""
        call = self._calls.get(key)
        return call.address if call is not None else None

    async def cancel(self, key: Key) -> None:
        """Tell the actor that the call is not wanted any more."""
        self._calls.pop(key, None)
        await self._bus.publish(subjects.cancel(*key), b"{}")

    def alive(self, key: Key, attempt: int) -> bool:
        """Whether something was heard of the call after it was said to be silent."""
        call = self._calls.get(key)
        return call is not None and call.attempt == attempt and not call.silent

    def done(self, key: Key) -> None:
        """The call has its outcome."""
        self._calls.pop(key, None)

    def forget(self, session: str) -> None:
        """Watch no call of that session any more."""
        for key in [key for key in self._calls if key[0] == session]:
            del self._calls[key]

    async def _ensure_and_send(self, key: Key, request: Request) -> None:
        try:
            await self._start(request.address)
        except ControlRoomError as error:
            call = self._calls.get(key)
            if call is not None and call.attempt == request.attempt:
                self._unservable(key, request.attempt, error)
            else:
                self._unsent(key, request.attempt)
            return
        if (call := self._calls.get(key)) is None:
            self._unsent(key, request.attempt)
        else:
            call.heard = asyncio.get_running_loop().time()
            await self._bus.publish(request.address.subject, request)

    async def _start(self, address: Address) -> None:
        task = self._starts.get(address)
        if task is None:
            task = self._starts[address] = asyncio.create_task(self._started(address))
            task.add_done_callback(lambda _: self._starts.pop(address, None))
        await asyncio.shield(task)

    async def _started(self, address: Address) -> None:
        await self._ensure(address)
        self._known.add(address)

    def _heard(self, msg: Msg) -> None:
        parts = msg.subject.split(".")
        if len(parts) != 5:
            return
        call = self._calls.get((parts[2], parts[3], parts[4]))
        if call is not None and Heartbeat.model_validate_json(msg.data).attempt == call.attempt:
            call.heard, call.silent = asyncio.get_running_loop().time(), False

    def _gone(self, msg: Msg) -> None:
        self._known.discard(Gone.model_validate_json(msg.data).actor)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            since = self._bus.connected_since
            if since is None:
                continue  # our own silence is not the actors'
            limit = loop.time() - SILENCE * self._heartbeat
            late = [key for key, call in self._calls.items() if max(call.heard, since) < limit]
            for key in late:
                call = self._calls[key]
                call.heard = loop.time()
                if not self._ensuring(key):
                    self._known.discard(call.address)
                    call.silent = True
                    self._silent(key, call.attempt)

    def _ensuring(self, key: Key) -> bool:
        return any(task.get_name() == repr(key) for task in self._sends)
