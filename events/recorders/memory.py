"""Events in the memory of this process: for tests, and for a room that shall leave no trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from eventsourcing.persistence import StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from events.envelope import Head
from events.recorders.port import Advance, Row, Snapshot


class MemoryRecorder(POPOApplicationRecorder):
    """The library's recorder in plain Python objects, with heads."""

    def __init__(self) -> None:
        super().__init__()
        self._heads: dict[str, Head] = {}

    def insert(self, events: Sequence[StoredEvent], advances: Sequence[Advance]) -> frozenset[str]:
        self.insert_events(events, advances=advances)
        return frozenset()

    def _insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        advances: Sequence[Advance] = (),
        **_: Any,
    ) -> Sequence[int] | None:
        with self._database_lock:  # reentrant
            numbers = super()._insert_events(stored_events)
            self._heads.update((head.stream, head) for _, head in advances)
            return numbers

    def rows(self, stream: str, after: int, limit: int | None) -> list[Row]:
        with self._database_lock:
            # Positions are gapless and inserted in order, so the index is a list by position.
            index = self._stored_events_index.get(stream, {})
            stop = None if limit is None else after + limit
            return [self._row(at) for at in islice(index.values(), after, stop)]

    def _row(self, at: int) -> Row:
        event = self._stored_events[at]
        stream = str(event.originator_id)
        return Row(at + 1, stream, event.originator_version, event.topic, event.state)

    def rows_of_all(self, after: int, limit: int) -> list[Row]:
        with self._database_lock:
            stop = min(after + limit, len(self._stored_events))
            return [self._row(at) for at in range(after, stop)]

    def heads(self, streams: Sequence[str] | None = None) -> list[Head]:
        with self._database_lock:
            names = self._heads if streams is None else self._heads.keys() & set(streams)
            return [self._heads[name] for name in sorted(names)]

    def last(self) -> int:
        return len(self._stored_events)

    def streams(self) -> list[str]:
        return [head.stream for head in self.heads()]

    @contextmanager
    def snapshot(self, stream: str) -> Iterator[Snapshot]:
        with self._database_lock:
            yield Snapshot(self._heads.get(stream), self.rows(stream, 0, None))

    def reconnect(self) -> None:
        return

    def close(self) -> None:
        return
