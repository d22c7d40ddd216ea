"""Threads that read the store, so that no event loop waits for a disk.

Handing a call to a thread and its result back costs more than reading a few events, so the calls
that an event loop makes in one go share the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

SHARED = 16
"""Calls that share a thread and a way, at most."""


class _Call:
    """A call, and what came of it."""

    __slots__ = ("call", "error", "future", "result")

    def __init__(self, call: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        self.call = call
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error

    def settle(self) -> None:
        if self.future.done():  # its caller was cancelled
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Readers:
    """So many threads. Usable from any event loop."""

    def __init__(self, count: int) -> None:
        self._waiting: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
        self._ways: SimpleQueue[list[_Call]] = SimpleQueue()
        self._threads = [
            Thread(target=self._run, name=f"event-reader-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def do(self, call: Callable[[], T], *, alone: bool = False) -> T:
        """What `call` returns or raises, in one of the threads; `alone` where it takes long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if alone:
            self._ways.put([_Call(call, future)])
            return await future
        waiting = self._waiting.get(loop)
        if waiting is None:
            self._waiting[loop] = waiting = []
            loop.call_soon(self._send, loop)
        waiting.append(_Call(call, future))
        return await future

    def close(self) -> None:
        """Finish what was handed over, then end the threads; blocks until both are done."""
        for _ in self._threads:
            self._ways.put([])
        for thread in self._threads:
            thread.join()

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._waiting.pop(loop)
        for start in range(0, len(waiting), SHARED):
            self._ways.put(waiting[start : start + SHARED])

    def _run(self) -> None:
        while calls := self._ways.get():
            for one in calls:
                one.run()
            with suppress(RuntimeError):  # a loop that was closed has nobody waiting
                calls[0].future.get_loop().call_soon_threadsafe(_settle, calls)


def _settle(calls: list[_Call]) -> None:
    for one in calls:
        one.settle()
