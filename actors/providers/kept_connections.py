"""Connections that are kept, and used again only while the server keeps them too.

A server may close a connection that nobody uses just when it is used again. What was sent then is
lost, and nobody can tell whether the server has worked on it, so nothing is sent twice here: to ask
again is the decision of the actor. All the more it matters not to use what has been closed.
"""

from __future__ import annotations

import asyncio
import select
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from aiohttp import TCPConnector

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

SETTLED: Final = 0.05  # seconds in which a server that does not keep a connection has closed it


@dataclass(slots=True)
class _Use:
    """The last use of a connection."""

    answered: bool
    """It brought an answer, and not a page."""
    until: float = float("inf")


class KeptConnections(TCPConnector):
    """Finds out whether the server keeps connections after its answers, which llama.cpp does not.

    It says nothing of that in its answers. So the first connection that is to be used again is
    looked at `SETTLED` after its answer; from then on it is known. It may still turn out otherwise,
    as where a server keeps connections after refusals alone: `doubt` has it found out again.
    """

    def __init__(self, *, keepalive_timeout: float) -> None:
        # How many calls there are at once is the actor's decision.
        super().__init__(limit=0, keepalive_timeout=keepalive_timeout)
        self._uses: WeakKeyDictionary[ResponseHandler, _Use] = WeakKeyDictionary()
        self._keeps: bool | None = None

    def doubt(self) -> None:
        """A connection was lost before the answer."""
        self._keeps = None

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None
            if (use := self._uses.get(protocol)) is None or await self._usable(connection, use):
                break
            connection.close()
        self._uses[protocol] = use = _Use(answered=req.method == "POST")
        connection.add_callback(partial(_released, use))
        return connection

    async def _usable(self, connection: Connection, use: _Use) -> bool:
        """Whether a connection that was used before may be used again."""
        idle = time.monotonic() - use.until
        if not use.answered or self._keeps:
            return not _has_ended(connection)
        if self._keeps is None and not _has_ended(connection) and idle < SETTLED:
            try:
                await asyncio.sleep(SETTLED - idle)
            except asyncio.CancelledError:
                connection.close()
                raise
        ended = _has_ended(connection)
        # One that was idle for longer has ended for its age.
        if self._keeps is None and (not ended or idle < SETTLED):
            self._keeps = not ended
        return not ended and self._keeps is not False


def _released(use: _Use) -> None:
    use.until = time.monotonic()


def _has_ended(connection: Connection) -> bool:
    """Whether an idle connection has something to be read: its end, or what nobody asked for.

    The event loop has not seen it where nothing was awaited since it came.
    """
    transport = connection.transport
    if transport is None or transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
