"""Time limits on reading a stream, without a timer for each read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from events.errors import ProviderError

if TYPE_CHECKING:
    from aiohttp import StreamReader


class Watch:
    """Breaks off a read that takes too long: it raises what `error` makes then.

    A stream has one timer, which is set again only when it has run out or is too late; a timer for
    each read would take as much time as the rest of the reading.
    """

    def __init__(self, content: StreamReader, error: Callable[[], ProviderError]) -> None:
        self._content = content
        self._error = error
        self._loop = asyncio.get_running_loop()
        self._by: float | None = None
        self._at = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, by: float) -> bytes:
        """The next bytes, if they come by that time of the event loop; empty at the end.

        Raises `OSError` where the connection was lost, or closed by us, after all that had come.
        """
        if (lost := self._content.exception()) is not None:
            # By its public methods a reader gives out nothing that came before it was cut.
            if rest := self._content._read_nowait(-1):
                return rest
            raise lost
        if chunk := self._content.read_nowait():
            return chunk
        self._by = by
        if by < self._at:
            self._set(by)
        try:
            return await self._content.readany()
        except RuntimeError as error:  # aiohttp's, where the provider was closed meanwhile
            raise ConnectionAbortedError(str(error)) from None
        finally:
            self._by = None

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.close()
        self._at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        if self._by is None:  # nobody reads just now: the next read sets it again
            self._at = float("inf")
        elif self._by > self._at:
            self._set(self._by)
        else:
            self._content.set_exception(self._error())
