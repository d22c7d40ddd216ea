"""A TCP relay between a client and a server, whose connections can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """Passes bytes on in both directions; `port` is where clients connect."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.accepted = 0
        self.lost_answers = 0
        """How many more answers are lost: their connection is cut when their first bytes come."""
        self.held = 0
        """Bytes of clients that were not passed on."""
        self._holding = False
        self._refusing = False
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection that there is."""
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        """Break every connection, and every further one, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Pass on again."""
        self._refusing = False

    def hold(self) -> None:
        """Pass on nothing more of what clients send."""
        self._holding = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        pair = {writer, back}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, back, answer=False))
                tasks.create_task(self._pass_on(there, writer, answer=True))
        finally:
            self._writers -= pair
            for each in pair:
                each.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):  # what was cut on purpose
            while data := await reader.read(65_536):
                if answer and self.lost_answers:
                    self.lost_answers -= 1
                    break
                if self._holding and not answer:
                    self.held += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort() if answer else writer.close()


@asynccontextmanager
async def relay(target: int) -> AsyncIterator[Relay]:
    """A relay to that port of this machine."""
    own = Relay(target)
    server = await asyncio.start_server(own.serve, "127.0.0.1", 0)
    own.port = server.sockets[0].getsockname()[1]
    async with server:
        yield own
        own.cut()
