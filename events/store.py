"""The port to the event store and to the blobs beside it: one contract suite for all backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from events.envelope import Event, Head, Recorded
from events.values import Blob


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place of a stream where the log is not what was written, and what is wrong."""

    stream: str
    position: int
    what: str


class EventStore(Protocol):
    """An append-only store of streams.

    The write guarantee is the unique (stream, position): of two writers one gets `Conflict`.
    """

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        """Append `batch` to `stream`, all of it or nothing; durable when this returns.

        The batch's positions are `after + 1`, `after + 2`, ... Raises `Conflict` where the stream's
        head is not at `after`. An append of exactly what is there already (a reply that was lost)
        returns the head as after a first append.
        """
        ...

    async def read(self, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Events of `stream` at positions beyond `after`, in order; empty for an unknown stream.

        Raises `UnknownEvent` or `Tampered` where what is stored cannot be what was written.
        """
        ...

    async def read_all(self, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Events of all streams beyond the global sequence `after`, in commit order."""
        ...

    async def head(self, stream: str) -> Head | None:
        """The head of `stream`, or None where it has no event."""
        ...

    async def heads(self) -> list[Head]:
        """The heads of all streams, by name."""
        ...

    async def last(self) -> int:
        """The global sequence of the last event in the store; 0 where it is empty."""
        ...

    def verify(self, stream: str | None = None) -> AsyncIterator[Fault]:
        """Check chain, positions and head of one stream or all; yield the first fault of each."""
        ...

    async def close(self) -> None:
        """Give back files and connections. What was acknowledged is durable already."""
        ...


class BlobStore(Protocol):
    """Content by its SHA-256, durable before an event names it."""

    def put(self, content: bytes, media_type: str = "text/plain; charset=utf-8") -> Blob:
        """Store `content` durably and return its reference; the same content is stored once."""
        ...

    def get(self, blob: Blob) -> bytes:
        """The content; raises `StoreError` where it is missing, `Tampered` where it was changed."""
        ...

    def size(self, sha256: str) -> int | None:
        """Bytes of the content with that hash; None where it is not in the store."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
