"""What keeps a server that talks without end from keeping its actor busy with that."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Final, Self

import anyio
import mcp_types as types
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage

_log = logging.getLogger(__name__)

EACH_SECOND: Final = 200
"""Notifications that are let through in a second."""
_TALK: Final = frozenset({"notifications/message", "notifications/progress"})


class Flood:
    """Lets so many notifications through that only tell something; all that counts passes."""

    def __init__(self, server: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._second = 0
        self._passed = 0
        self._told = False

    def passes(self, message: types.JSONRPCMessage) -> bool:
        """Whether the message goes on."""
        if not isinstance(message, types.JSONRPCNotification) or message.method not in _TALK:
            return True
        second = int(self._clock())
        if second != self._second:
            self._second, self._passed = second, 0
        self._passed += 1
        if self._passed <= EACH_SECOND:
            return True
        if not self._told:
            self._told = True
            _log.warning("%s sends notifications without end: most are dropped", self._server)
        return False


class Thinned:
    """A stream of a server's messages, of whose notifications only so many pass."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], flood: Flood) -> None:
        self._stream = stream
        self._flood = flood

    @property
    def last_context(self) -> Context | None:
        """That of the request to which the latest message belongs, where it is known."""
        context: Context | None = getattr(self._stream, "last_context", None)
        return context

    async def receive(self) -> SessionMessage | Exception:
        """The next message that passes."""
        while True:
            item = await self._stream.receive()
            if isinstance(item, Exception) or self._flood.passes(item.message):
                return item

    async def aclose(self) -> None:
        """Receive nothing more."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self.aclose()
