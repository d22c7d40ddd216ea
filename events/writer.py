"""Group commit: one thread writes, and everything that waits goes into its next transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Condition, Thread

from eventsourcing.persistence import PersistenceError

from events.commit import Append, Committer
from events.envelope import Head
from events.errors import ControlRoomError, StoreError
from events.recorders.port import store_error

MAX_EVENTS = 500
"""Most events of one transaction, unless one append alone has more."""

MAX_BYTES = 256 * 1024
"""Most stored bytes of one transaction, unless one append alone has more."""

log = logging.getLogger(__name__)

_DEAD = "the event store's writing thread has ended: see the log, and start the room again"

_Waiting = tuple[Append, "asyncio.Future[Head]"]


class Writer:
    """The one thread that inserts.

    An append that was submitted is written or fails, whatever becomes of its caller. A failing
    database fails the appends that wait for it; `reconnect` is called and the next ones try anew.
    Should the thread itself end, whatever waits for it fails, and what comes later is refused.
    """

    def __init__(self, committer: Committer, reconnect: Callable[[], None]) -> None:
        self._committer = committer
        self._reconnect = reconnect
        self._waiting: deque[_Waiting] = deque()
        self._changed = Condition()
        self._closed = False
        self._dead = False
        self._group: list[_Waiting] = []
        self._thread = Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    def submit(self, append: Append) -> asyncio.Future[Head]:
        """Queue an append; the future belongs to the running loop."""
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed:
                raise StoreError("the event store is closed")
            if self._dead:
                raise StoreError(_DEAD)
            self._waiting.append((append, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Write what was submitted, then end the thread; blocks until both are done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._next_group():
                self._write(self._group)
        except BaseException as error:
            log.critical("the event writer's thread has ended", exc_info=error)
        finally:
            with self._changed:
                self._dead = True
                left = [*self._group, *self._waiting]
                self._waiting.clear()
            for append, _ in left:
                append.outcome = append.outcome or StoreError(_DEAD)
            _answer(left)

    def _write(self, group: list[_Waiting]) -> None:
        try:
            self._committer.together([append for append, _ in group])
            _answer(one for one in group if one[0].outcome is not None)
            late = [one for one in group if one[0].outcome is None]
            for append, _ in late:
                self._committer.settle(append)
            _answer(late)
        except Exception as error:
            self._fail(group, error)

    def _next_group(self) -> bool:
        """Take what waits, up to the limits, as soon as anything does; false when closed."""
        with self._changed:
            group = self._group = []
            while not self._waiting:
                if self._closed:
                    return False
                self._changed.wait()
            group.append(self._waiting.popleft())
            count, size = len(group[0][0].events), group[0][0].size
            while self._waiting:
                append = self._waiting[0][0]
                count += len(append.events)
                size += append.size
                if count > MAX_EVENTS or size > MAX_BYTES:
                    break
                group.append(self._waiting.popleft())
            return True

    def _fail(self, group: list[_Waiting], error: Exception) -> None:
        self._committer.forget()
        if not isinstance(error, ControlRoomError | PersistenceError):
            log.error("the event writer failed", exc_info=error)
        for append, _ in group:
            append.outcome = append.outcome or _failure(error)
        _answer(group)
        try:
            self._reconnect()
        except Exception as again:  # whatever it is, this thread has to go on
            log.warning("the event store cannot be reached: %s", again)


def _failure(error: Exception) -> StoreError:
    """A new error for each caller, because an exception that is raised twice mixes its traces."""
    match error:
        case ControlRoomError():
            failure = StoreError(error.message, retryable=error.retryable)
        case PersistenceError():
            failure = store_error(error, "appending")
        case _:
            failure = StoreError(f"appending failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _answer(answered: Iterable[_Waiting]) -> None:
    """Resolve the futures with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for one in answered:
        by_loop.setdefault(one[1].get_loop(), []).append(one)
    for loop, theirs in by_loop.items():
        with suppress(RuntimeError):  # a loop that was closed has nobody waiting
            loop.call_soon_threadsafe(_resolve, theirs)


def _resolve(answered: list[_Waiting]) -> None:
    for append, future in answered:
        if future.done():  # answered, or the caller was cancelled: the append stands
            continue
        if isinstance(append.outcome, Head):
            future.set_result(append.outcome)
        elif append.outcome is not None:
            future.set_exception(append.outcome)
