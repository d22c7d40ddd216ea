"""What is published on its way to the server: written together, once for each round of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Any, cast

from nats.aio.client import Client

from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

BUFFER = 8 * 1024 * 1024  # bytes published while the connection is down; what exceeds it is dropped
UNHEEDED = 256 * 1024  # bytes written before it is looked whether the server takes them

_no_subject = re.compile(r"\s|^$").search


class Outbox:
    """Publishes through one client.

    The client would wake a task of its own for each message, which costs more than the message.
    Here messages are only put to what the client has pending; that is written as one piece when the
    event loop has done everything else of this round. While the connection is down, the client
    keeps it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._flushing = False
        self._unheeded = 0

    def put(self, subject: str, data: bytes, reply: str = "") -> None:
        """Have a message written soon. Raises `ControlRoomError` for one that no server takes."""
        if _no_subject(subject):
            raise ControlRoomError(f"{subject!r} is not a subject")
        client = self._client
        if len(data) > client.max_payload:
            raise ControlRoomError(
                f"a message of {len(data)} bytes on {subject} is longer than the NATS server takes:"
                " put long texts into blobs"
            )
        command = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(data), data)
        if not client.is_connected and client.pending_data_size + len(command) > BUFFER:
            _log.debug("dropped a message on %s: NATS is away", subject)
            return
        client._pending.append(command)
        client._pending_data_size += len(command)
        self._unheeded += len(command)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        self._flushing = False
        client = self._client
        if client._pending and client.is_connected and client._transport is not None:
            try:
                client._transport.write(b"".join(client._pending))
            except (OSError, RuntimeError):  # it is closed, and the client finds that out soon
                return
            client._pending, client._pending_data_size = [], 0

    async def room(self) -> None:
        """Returns when the server takes what is sent, or at once where little was sent."""
        if self._unheeded < UNHEEDED:
            return
        self._unheeded = 0
        self.flush()
        transport = cast(Any, self._client._transport)
        if transport is not None and self._client.is_connected:
            with contextlib.suppress(OSError, RuntimeError):
                await transport.drain()

    def drop(self) -> None:
        """Forget what the client keeps."""
        self._client._pending, self._client._pending_data_size = [], 0
