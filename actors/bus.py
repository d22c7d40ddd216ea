"""One connection to NATS, which comes back by itself: publish, request, subscribe.

Payloads are bytes or pydantic values, which travel as JSON. Delivery is at most once for `publish`;
a `request` is sent again where the connection was lost or nobody listened, so whoever answers must
recognise a repetition.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg as RawMsg
from nats.aio.subscription import Subscription as RawSubscription
from nats.js import JetStreamContext
from pydantic import BaseModel

from actors.handling import Handling, listen
from actors.inbox import Inbox, Lost, Nobody
from actors.outbox import BUFFER, Outbox
from events.errors import ConfigError, ControlRoomError

_log = logging.getLogger(__name__)

RECONNECT_PAUSE = 0.25  # seconds between two attempts to reach the server
PING_INTERVAL = 5  # seconds; a connection that is dead without saying so is found after three
DRAIN_WITHIN = 5.0  # seconds for handlers to finish when the connection is given back
FIRST_PAUSE, LAST_PAUSE = 0.02, 0.5  # seconds between two tries of a request that nobody took


class Unreachable(ControlRoomError):
    """Nobody answered a request in time, or NATS itself could not be reached."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Msg:
    """A message as it came."""

    subject: str
    data: bytes
    reply: str
    bus: Bus

    async def respond(self, payload: bytes | BaseModel) -> None:
        """Answer a request; does nothing where the message is not one."""
        if self.reply:
            await self.bus.publish(self.reply, payload)


Callback = Callable[[Msg], Awaitable[None] | None]


def encode(payload: bytes | BaseModel) -> bytes:
    """The bytes that travel."""
    if isinstance(payload, BaseModel):
        return payload.__pydantic_serializer__.to_json(payload)
    return payload


class Subscription:
    """Interest in a subject; it survives every loss of the connection."""

    def __init__(self, bus: Bus, subject: str, queue: str, callback: Callback) -> None:
        self.subject = subject
        self._bus = bus
        self._queue = queue
        self._handling = Handling(subject, callback)
        self._raw: RawSubscription | None = None

    async def attach(self, client: Client) -> None:
        """Subscribe on `client`: for the bus alone."""
        self._raw = await listen(client, self.subject, self._take, self._queue)

    def _take(self, raw: RawMsg) -> None:
        self._handling.take(Msg(raw.subject, raw.data, raw.reply, self._bus))

    async def unsubscribe(self) -> None:
        """Take no further message; those not yet handled are dropped."""
        self._bus.forget(self)
        self.stop()
        if self._raw is not None:
            with contextlib.suppress(nats_errors.Error):
                await self._raw.unsubscribe()

    async def drain(self) -> None:
        """Take no further message; returns when those that came are handled."""
        self._bus.forget(self)
        if self._raw is not None:
            with contextlib.suppress(nats_errors.Error):
                await self._raw.drain()  # type: ignore[no-untyped-call]
        await self._handling.idle()

    def stop(self) -> None:
        """Cancel what is being handled: for the bus alone."""
        self._handling.stop()


class Bus:
    """A connection to NATS. Not for use from several event loops.

    `connected` tells whether it stands, `connected_since` (time of the event loop, None while it
    is down) since when.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._client = Client()
        self._online = asyncio.Event()
        self._closing = False
        self._subscriptions: dict[Subscription, None] = {}
        self._outbox = Outbox(self._client)
        self._inbox = Inbox()
        self._on_reconnect: list[Callable[[], Awaitable[None] | None]] = []
        self._refused = asyncio.Event()
        self._revival: asyncio.Task[None] | None = None
        self.connected_since: float | None = None

    # --- life --------------------------------------------------------------------------------

    @classmethod
    async def connect(cls, url: str, *, name: str = "control-room", within: float = 10.0) -> Self:
        """Connect to `url` and come back, without end, whenever the connection is lost.

        `url` is `nats://TOKEN@HOST:PORT`, or several of one cluster with commas between them.

        Raises `Unreachable` where no server is there within so many seconds, and `ConfigError`
        where it refuses the token. Neither says the token.
        """
        bus = cls(url, name)
        try:
            async with asyncio.timeout(within):
                opened = await bus._open_unless_refused()
        except TimeoutError:
            await bus.close()
            raise Unreachable(
                f"no NATS server at {bus.address} within {within:g} s: start it, or set"
                " CONTROL_ROOM_NATS to the URL of a running one"
            ) from None
        except nats_errors.Error as error:
            raise ConfigError(f"{bus.address} is not the address of a NATS server") from error
        if not opened:
            await bus.close()
            raise ConfigError(
                f"the NATS server at {bus.address} refuses the token: check CONTROL_ROOM_NATS"
            )
        return bus

    async def _open_unless_refused(self) -> bool:
        """Whether the connection stands; else a server refuses the token."""
        opening = asyncio.create_task(self._open())
        refused = asyncio.create_task(self._refused.wait())
        try:
            await asyncio.wait((opening, refused), return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            return opening.done()
        finally:
            opening.cancel()
            refused.cancel()
            await asyncio.gather(opening, refused, return_exceptions=True)

    async def _open(self) -> None:
        client = self._client = Client()
        self._outbox = Outbox(client)
        # A client that has given up calls back too; only the present one counts.
        await client.connect(
            self._url.split(","),
            name=self._name,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_PAUSE,  # type: ignore[arg-type]  # a float does well
            ping_interval=PING_INTERVAL,
            pending_size=BUFFER,
            drain_timeout=5,
        )
        await self._inbox.open(client)
        for subscription in tuple(self._subscriptions):
            await subscription.attach(client)
        await self._barrier()
        self._up()

    async def close(self) -> None:
        """Close at once; what is still being handled is cancelled."""
        self._closing = True
        self._online.clear()
        self.connected_since = None
        if self._revival is not None:
            self._revival.cancel()
        if not self._client.is_connected:
            # The client would write what it kept to the socket that is gone, fail on that, and
            # leave its tasks running.
            self._outbox.drop()
        for subscription in self._subscriptions:
            subscription.stop()
        with contextlib.suppress(nats_errors.Error, OSError):
            await self._client.close()
        self._inbox.drop()

    async def drain(self) -> None:
        """Take no further message, finish handling those that came (5 s at most), and close."""
        self._closing = True
        if self._online.is_set():
            with contextlib.suppress(nats_errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(DRAIN_WITHIN):
                    draining = (one.drain() for one in tuple(self._subscriptions))
                    await asyncio.gather(*draining)
                    await self._barrier()
        await self.close()

    # --- state -------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._online.is_set()

    @property
    def address(self) -> str:
        """The configured URL without its token."""
        return ",".join(url.rpartition("@")[2] for url in self._url.split(","))

    def on_reconnect(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Call `callback` whenever the connection stands again after it was lost."""
        self._on_reconnect.append(callback)

    def jetstream(self) -> JetStreamContext:
        """JetStream on the present connection; ask anew after a reconnect."""
        return self._client.jetstream()

    async def wait_connected(self, within: float | None = None) -> bool:
        """Whether the connection stands within so many seconds (None: however long it takes)."""
        try:
            async with asyncio.timeout(within):
                await self._online.wait()
        except TimeoutError:
            return False
        return True

    async def _barrier(self) -> None:
        """Returns when the server has taken everything that was sent before."""
        # The client's PING overtakes what is not written yet. An answer to a PING for which nobody
        # waits any more ends the client's reading, so whoever is cancelled lets it wait on.
        self._outbox.flush()
        flushing = asyncio.ensure_future(self._client.flush())
        flushing.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(flushing)

    def _up(self) -> None:
        self.connected_since = asyncio.get_running_loop().time()
        self._online.set()

    async def _on_error(self, error: Exception) -> None:
        if _is_refusal(error):
            self._refused.set()
        if isinstance(error, nats_errors.SlowConsumerError):
            _log.warning("messages on %s come faster than they are handled: dropped", error.subject)
        else:
            _log.debug("NATS %s: %s", self.address, error)

    async def _on_disconnected(self) -> None:
        if self._online.is_set() and not self._closing:
            _log.warning("lost the connection to NATS at %s", self.address)
        self._online.clear()
        self.connected_since = None
        self._inbox.drop()

    async def _on_reconnected(self) -> None:
        _log.info("connected to NATS at %s again", self.address)
        self._up()
        for callback in tuple(self._on_reconnect):
            try:
                done = callback()
                if done is not None:
                    await done
            except Exception:
                _log.exception("a reconnect callback failed")

    async def _on_closed(self) -> None:
        # The client gives up for good where the server sends a protocol error. We never do.
        if not self._closing and (self._revival is None or self._revival.done()):
            self._revival = asyncio.create_task(self._revive(), name="nats-revival")

    async def _revive(self) -> None:
        while not self._closing:
            try:
                await self._open()
            except (nats_errors.Error, OSError) as error:
                _log.debug("NATS %s: %s", self.address, error)
                await asyncio.sleep(RECONNECT_PAUSE)
            else:
                await self._on_reconnected()
                return

    # --- messages ----------------------------------------------------------------------------

    async def publish(self, subject: str, payload: bytes | BaseModel) -> None:
        """Send to whoever listens now.

        While the connection is down messages are kept, up to 8 MB, and what exceeds it is dropped.
        """
        self._outbox.put(subject, encode(payload))
        await self._outbox.room()

    async def request(
        self, subject: str, payload: bytes | BaseModel, timeout: float = 5.0
    ) -> bytes:
        """The answer to `payload`, within `timeout` seconds in all.

        The request is sent again where nobody listens yet and where the connection was lost before
        an answer came. Raises `Unreachable` when the time is over.
        """
        data = encode(payload)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause, why = FIRST_PAUSE, ""
        while (left := deadline - loop.time()) > 0:
            if not self._online.is_set() and not await self.wait_connected(left):
                break
            try:
                return await self._inbox.ask(self._outbox, subject, data, deadline)
            except Lost:
                why = "the connection to NATS was lost"
                if self._closing:
                    break
                continue
            except TimeoutError:
                why = why or "no answer came"
                break
            except Nobody:
                why = "nobody listens there"
            await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
            pause = min(2 * pause, LAST_PAUSE)
        why = why or "the connection to NATS is down"
        raise Unreachable(f"{subject} within {timeout:g} s: {why}")

    async def subscribe(self, subject: str, callback: Callback, queue: str = "") -> Subscription:
        """Call `callback` with every message, one after another, in the order they come.

        Members of one `queue` share the messages. What a callback raises is logged and does not
        end the subscription. Returns when the server knows of it.
        """
        subscription = Subscription(self, subject, queue, callback)
        self._subscriptions[subscription] = None
        try:
            await subscription.attach(self._client)
            if self._online.is_set():
                await self._barrier()
        except nats_errors.BadSubjectError:
            self.forget(subscription)
            raise ControlRoomError(f"{subject!r} is not a subject to listen to") from None
        except nats_errors.Error as error:
            # It is subscribed again with the rest when the connection stands.
            _log.debug("NATS %s: %s", self.address, error)
        except asyncio.CancelledError:
            await subscription.unsubscribe()
            raise
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Not to be subscribed again: for the subscription alone."""
        self._subscriptions.pop(subscription, None)


def _is_refusal(error: Exception) -> bool:
    return "authorization" in str(error).lower()
