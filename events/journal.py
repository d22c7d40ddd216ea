"""The event store over any recorder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TypeVar

from eventsourcing.persistence import PersistenceError

from events.audit import first_fault
from events.codec import MAX_NAME, Codec
from events.commit import Append, Committer
from events.envelope import Event, Head, Recorded
from events.errors import ConfigError, StoreError, Tampered
from events.readers import Readers
from events.recorders.port import Recorder, store_error
from events.store import Fault
from events.writer import Writer

T = TypeVar("T")

READERS = 4
SMALL = 500
"""Events that a read may bring and still share its way with others."""


class Journal:
    """Implements `events.store.EventStore`: a writer thread, a few reader threads, one recorder.

    Usable from any event loop. `read_only` refuses to append.
    """

    def __init__(
        self, recorder: Recorder, codec: Codec | None = None, *, read_only: bool = False
    ) -> None:
        self._recorder = recorder
        self._codec = codec or Codec()
        self._closed = False
        self._readers = Readers(READERS)
        self._writer = (
            None
            if read_only
            else Writer(Committer(recorder, self._codec), reconnect=recorder.reconnect)
        )

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        _check(stream, after, batch)
        if self._writer is None:
            raise StoreError("the event store was opened read-only")
        sealed = [self._codec.seal(event) for event in batch]
        return await self._writer.submit(Append(stream, after, tuple(batch), sealed))

    async def read(self, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
        alone = limit is None or limit > SMALL
        return await self._in_reader(partial(self._read, stream, after, limit), alone=alone)

    def _read(self, stream: str, after: int, limit: int | None) -> list[Event]:
        decode, expected, events = self._codec.decode, after, []
        for _, _, position, type_name, form in self._recorder.rows(stream, after, limit):
            expected += 1
            if position != expected:
                raise Tampered(stream, expected, "the event is missing")
            events.append(decode(stream, position, type_name, form))
        return events

    async def read_all(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        return await self._in_reader(partial(self._read_all, after, limit), alone=True)

    def _read_all(self, after: int, limit: int) -> list[Recorded]:
        decode = self._codec.decode
        return [
            Recorded(sequence, decode(stream, position, type_name, form))
            for sequence, stream, position, type_name, form in self._recorder.rows_of_all(
                after, limit
            )
        ]

    async def head(self, stream: str) -> Head | None:
        return next(iter(await self._in_reader(partial(self._recorder.heads, [stream]))), None)

    async def heads(self) -> list[Head]:
        return await self._in_reader(self._recorder.heads)

    async def last(self) -> int:
        return await self._in_reader(self._recorder.last)

    async def verify(self, stream: str | None = None) -> AsyncIterator[Fault]:
        names = [stream] if stream is not None else await self._in_reader(self._recorder.streams)
        for name in names:
            fault = await self._in_reader(partial(first_fault, self._recorder, name), alone=True)
            if fault is not None:
                yield fault

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._readers.close()
        self._recorder.close()

    async def _in_reader(self, call: Callable[[], T], *, alone: bool = False) -> T:
        if self._closed:
            raise StoreError("the event store is closed")
        try:
            return await self._readers.do(call, alone=alone)
        except PersistenceError as error:
            raise store_error(error, "reading the event store") from error


def _check(stream: str, after: int, batch: Sequence[Event]) -> None:
    """Refuse what no store could keep: a nameless stream, an empty batch, positions with gaps."""
    try:
        length = len(stream.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"the stream name {stream!r} is not valid Unicode") from error
    if not 0 < length <= MAX_NAME or "\0" in stream:
        raise ConfigError(f"a stream name has 1 to {MAX_NAME} bytes and no NUL: {stream!r:.80}")
    if after < 0:
        raise ConfigError(f"positions count from 1: nothing can follow position {after}")
    if not batch:
        raise ConfigError(f"nothing to append to {stream}: a batch has at least one event")
    for position, event in enumerate(batch, after + 1):
        if event.stream != stream or event.position != position:
            raise ConfigError(
                f"a batch for {stream} after {after} has position {position} next, "
                f"not {event.stream} at {event.position}"
            )
