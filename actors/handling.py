"""Messages on their way to a handler, without the client's queue and task for each subscription."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from nats.aio.client import Client
from nats.aio.msg import Msg as RawMsg
from nats.aio.subscription import Subscription as RawSubscription

_log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""Messages that wait for a slow handler; what exceeds them is dropped."""

M = TypeVar("M")


class _Direct:
    """Stands for the future that the client sets for the only message of a subscription.

    The client knows nothing else of it, and sets this one for every message.
    """

    def __init__(self, take: Callable[[RawMsg], None]) -> None:
        self.set_result = take

    def cancelled(self) -> bool:
        return False


async def listen(
    client: Client, subject: str, take: Callable[[RawMsg], None], queue: str = ""
) -> RawSubscription:
    """Have `take` called with every message while `client` reads; it must not raise."""
    future = cast("asyncio.Future[RawMsg]", _Direct(take))
    return await client.subscribe(subject, queue=queue, future=future)


class Handling(Generic[M]):
    """The messages of one subscription on their way to its handler.

    A handler that returns nothing is done when it returns, so no task is made for its messages. One
    that returns an awaitable is awaited before the next message is given to it. What a handler
    raises is logged.
    """

    def __init__(self, name: str, handle: Callable[[M], Awaitable[None] | None]) -> None:
        self._name = name
        self._handle = handle
        self._waiting: deque[M] = deque()
        self._work: asyncio.Task[None] | None = None
        self._dropping = False

    def take(self, message: M) -> None:
        """Have `message` handled now, or when those before it are; never raises."""
        if self._work is None:
            done = self._begun(message)
            if done is not None:
                self._work = asyncio.create_task(self._go_on(done), name=f"handler {self._name}")
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(message)
            self._dropping = False
        elif not self._dropping:
            self._dropping = True
            _log.warning("messages on %s come faster than they are handled: dropped", self._name)

    def stop(self) -> None:
        """Cancel what is being handled and drop what waits."""
        self._waiting.clear()
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()

    async def idle(self) -> None:
        """Returns when everything that was taken is handled."""
        while self._work is not None:
            await asyncio.wait({self._work})

    def _begun(self, message: M) -> Awaitable[None] | None:
        try:
            return self._handle(message)
        except Exception:
            _log.exception("a handler of %s failed", self._name)
            return None

    async def _go_on(self, done: Awaitable[None] | None) -> None:
        try:
            while True:
                if done is not None:
                    await self._finished(done)
                if not self._waiting:
                    return
                done = self._begun(self._waiting.popleft())
        finally:
            self._work = None

    async def _finished(self, done: Awaitable[None]) -> None:
        try:
            await done
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the handler waited for was cancelled, not the handler.
            _log.warning("a handler of %s was cancelled", self._name)
        except Exception:
            _log.exception("a handler of %s failed", self._name)
