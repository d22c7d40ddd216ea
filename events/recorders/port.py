"""The port of a recorder: rows of stored bytes, and the heads that change with them.

Recorders know nothing of what events say. They block; the journal calls `insert` from its writer
thread alone, and everything else from its reader threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from eventsourcing.persistence import PersistenceError, StoredEvent

from events.envelope import Head
from events.errors import StoreError


class Row(NamedTuple):
    """One stored event as the database holds it."""

    sequence: int
    stream: str
    position: int
    type: str
    form: bytes


class Advance(NamedTuple):
    """A stream's head moves from position `after` to `head`."""

    after: int
    head: Head


@dataclass(frozen=True)
class Snapshot:
    """One stream as it was at one moment; `rows` is read once, in pages."""

    head: Head | None
    rows: Iterable[Row]


class Recorder(Protocol):
    """Keeps rows unique by (stream, position), in a sequence that follows commit order."""

    def insert(self, events: Sequence[StoredEvent], advances: Sequence[Advance]) -> frozenset[str]:
        """Insert `events` and move the heads in one durable transaction.

        Returns the streams whose head was not at `after`; nothing was written to those. Raises
        `IntegrityError` where a position is taken all the same; then nothing at all was written.
        """
        ...

    def rows(self, stream: str, after: int, limit: int | None) -> list[Row]:
        """Rows of `stream` at positions beyond `after`, by position."""
        ...

    def rows_of_all(self, after: int, limit: int) -> list[Row]:
        """Rows beyond the sequence `after`, by sequence."""
        ...

    def heads(self, streams: Sequence[str] | None = None) -> list[Head]:
        """The heads of `streams` where they have one, or all, by the code points of the name."""
        ...

    def last(self) -> int:
        """The highest sequence; 0 where there is none."""
        ...

    def streams(self) -> list[str]:
        """Every stream that has an event or a head, by name."""
        ...

    def snapshot(self, stream: str) -> AbstractContextManager[Snapshot]:
        """The whole of one stream, unmoved by what is appended meanwhile."""
        ...

    def reconnect(self) -> None:
        """Drop connections that may be broken; the next call makes new ones."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


PAGE = 500
"""Rows that a snapshot reads at a time."""


def paged(pages: Iterator[list[Row]]) -> Iterator[Row]:
    """Rows of the pages until one is empty."""
    for page in pages:
        if not page:
            return
        yield from page


def store_error(error: PersistenceError, doing: str) -> StoreError:
    """The database's error as ours: retryable, because a database that failed may recover."""
    return StoreError(
        f"{doing} failed: {str(error).strip() or type(error).__name__}", retryable=True
    )
