"""Calls in flight: sent to the models' actors, listened for, and given up when nothing is heard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors import subjects
from actors.bus import Bus, Msg
from actors.messages import Ask, Gone, Heartbeat
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

Key = tuple[str, str, str]
"""Session, turn, step."""

HEARTBEAT = 1.0
"""Seconds between two heartbeats of a model's actor."""
SILENCE = 3
"""So many heartbeats missed: nobody works on the call."""

Ensure = Callable[[str, str], Awaitable[None]]
"""Returns when an actor of that provider and model listens; raises where it cannot."""


@dataclass(slots=True)
class Call:
    """A call and when something was last heard of it (time of the event loop)."""

    provider: str
    model: str
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
        self._known: set[tuple[str, str]] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._starts: dict[tuple[str, str], asyncio.Task[None]] = {}
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

    def listen(self, key: Key, provider: str, model: str, attempt: int) -> None:
        """Watch a call that somebody may be working on already.

        The model's actor may be gone like the router that asked it: it is started meanwhile.
        """
        self._watch(key, provider, model, attempt)
        self.warm(provider, model)

    def _watch(self, key: Key, provider: str, model: str, attempt: int) -> None:
        now = asyncio.get_running_loop().time()
        self._calls[key] = Call(provider, model, attempt, now)

    async def send(self, ask: Ask) -> None:
        """Ask the model's actor, starting one first where none is known to listen."""
        key = (ask.session, ask.turn, ask.step)
        self._watch(key, ask.provider, ask.model, ask.attempt)
        if (ask.provider, ask.model) in self._known:
            await self._bus.publish(subjects.model(ask.provider, ask.model), ask)
            return
        task = asyncio.create_task(self._ensure_and_send(key, ask), name=repr(key))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    def warm(self, provider: str, model: str) -> None:
        """Have an actor of the model started before it is asked; a failure shows when it is."""
        if (provider, model) not in self._known:
            task = asyncio.create_task(self._warm(provider, model))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _warm(self, provider: str, model: str) -> None:
        try:
            await self._start(provider, model)
        except ControlRoomError as error:
            _log.warning("no actor for %s/%s yet: %s", provider, model, error)

    async def cancel(self, key: Key) -> None:
        """Tell the model's actor that the call is not wanted any more."""
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

    async def _ensure_and_send(self, key: Key, ask: Ask) -> None:
        try:
            await self._start(ask.provider, ask.model)
        except ControlRoomError as error:
            call = self._calls.get(key)
            if call is not None and call.attempt == ask.attempt:
                self._unservable(key, ask.attempt, error)
            else:
                self._unsent(key, ask.attempt)
            return
        if (call := self._calls.get(key)) is None:
            self._unsent(key, ask.attempt)
        else:
            call.heard = asyncio.get_running_loop().time()
            await self._bus.publish(subjects.model(ask.provider, ask.model), ask)

    async def _start(self, provider: str, model: str) -> None:
        """Have an actor of the model; whoever waits for the same one, waits together."""
        name = (provider, model)
        task = self._starts.get(name)
        if task is None:
            task = self._starts[name] = asyncio.create_task(self._started(*name))
            task.add_done_callback(lambda _: self._starts.pop(name, None))
        await asyncio.shield(task)

    async def _started(self, provider: str, model: str) -> None:
        await self._ensure(provider, model)
        self._known.add((provider, model))

    def _heard(self, msg: Msg) -> None:
        parts = msg.subject.split(".")
        if len(parts) != 5:
            return
        call = self._calls.get((parts[2], parts[3], parts[4]))
        if call is not None and Heartbeat.model_validate_json(msg.data).attempt == call.attempt:
            call.heard, call.silent = asyncio.get_running_loop().time(), False

    def _gone(self, msg: Msg) -> None:
        actor = Gone.model_validate_json(msg.data)
        self._known.discard((actor.provider, actor.model))

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            since = self._bus.connected_since
            if since is None:
                continue  # our own silence is not the models'
            limit = loop.time() - SILENCE * self._heartbeat
            late = [key for key, call in self._calls.items() if max(call.heard, since) < limit]
            for key in late:
                call = self._calls[key]
                call.heard = loop.time()
                if not self._ensuring(key):
                    self._known.discard((call.provider, call.model))
                    call.silent = True
                    self._silent(key, call.attempt)

    def _ensuring(self, key: Key) -> bool:
        return any(task.get_name() == repr(key) for task in self._sends)
