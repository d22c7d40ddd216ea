"""The line in which calls wait for one of a model's places."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from events.errors import RateLimited

T = TypeVar("T")


class Line(Generic[T]):
    """`places` calls at once; at most `longest` more wait, in the order they came."""

    def __init__(self, name: str, places: int, longest: int) -> None:
        self._name = name
        self._longest = longest
        self._places = asyncio.Semaphore(places)
        self._waiting: dict[T, None] = {}

    @property
    def waiting(self) -> tuple[T, ...]:
        """Those that wait, the next one first."""
        return tuple(self._waiting)

    @asynccontextmanager
    async def place(self, who: T, *, again: bool = False) -> AsyncIterator[None]:
        """A place, as soon as it is the turn of `who`.

        Raises `RateLimited` at once where the line is full, except for one that comes `again`.
        """
        if not again and self._places.locked() and len(self._waiting) >= self._longest:
            raise RateLimited(
                f"{self._name} has {len(self._waiting)} calls waiting, as many as max_queue allows:"
                " ask later, raise max_concurrency or max_queue, or give the participant a fallback"
            )
        self._waiting[who] = None
        try:
            await self._places.acquire()
        finally:
            del self._waiting[who]
        try:
            yield
        finally:
            self._places.release()
