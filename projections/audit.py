"""Audit: whether the store, and the blobs beside it, still hold what was written."""

from __future__ import annotations

import asyncio

from pydantic import Field

from events.blobs import named
from events.errors import StoreError, Tampered, UnknownEvent
from events.store import BlobStore, EventStore
from events.values import Blob, Value

PAGE = 500
"""Events that are read at a time."""


class FaultView(Value):
    """The first place of a stream where the log, or a blob that it names, is not what was written.

    A stream may have one of each.
    """

    stream: str
    position: int
    what: str


class AuditReport(Value):
    """What was checked, and the first faults of every stream that has any."""

    intact: bool
    streams: int
    events: int = Field(description="that the streams' heads speak for")
    blobs: int = Field(description="that the events name, each counted once")
    faults: tuple[FaultView, ...]


async def audit(store: EventStore, blobs: BlobStore, stream: str | None = None) -> AuditReport:
    """Check hash chain, positions, head and blobs of one stream, or of all that there are.

    The chain is checked on the stored bytes alone. Which blobs there have to be is what the events
    say, so they are looked for in the events before a stream's first fault. Events that are
    appended meanwhile are not counted, and their blobs not looked at. Raises `StoreError` where the
    store or the blobs cannot be reached.
    """
    heads = {
        head.stream: head.position
        for head in await store.heads()
        if stream is None or head.stream == stream
    }
    faults = [
        FaultView(stream=fault.stream, position=fault.position, what=fault.what)
        async for fault in store.verify(stream)
    ]
    broken = {fault.stream: fault.position for fault in faults}
    seen = _Seen(blobs)
    for name, position in heads.items():
        upto = min(position, broken.get(name, position + 1) - 1)
        if fault := await _first_fault(store, name, upto, seen):
            faults.append(fault)
    # A stream whose head was removed is known by its fault alone.
    names = heads.keys() | broken.keys()
    return AuditReport(
        intact=not faults,
        streams=len(names),
        events=sum(heads.values()),
        blobs=seen.count,
        faults=tuple(sorted(faults, key=lambda fault: (fault.stream, fault.position))),
    )


async def _first_fault(store: EventStore, stream: str, upto: int, seen: _Seen) -> FaultView | None:
    """The first event up to a position that names a blob which is not there, or not what it was."""
    after = 0
    while after < upto:
        try:
            page = await store.read(stream, after, min(PAGE, upto - after))
        except (Tampered, UnknownEvent) as error:
            what = f"an event behind this position cannot be read: {error.message}"
            return FaultView(stream=stream, position=after, what=what)
        for event in page:
            for blob in named(event.data):
                if what := await seen.fault(blob):
                    return FaultView(stream=stream, position=event.position, what=what)
        after += len(page)
        if not page:
            break
    return None


class _Seen:
    """Blobs that were looked at, and what is wrong with them. Many events name the same one."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._found: dict[tuple[str, int], str] = {}

    @property
    def count(self) -> int:
        return len({digest for digest, _ in self._found})

    async def fault(self, blob: Blob) -> str:
        """What is wrong with it; empty where nothing is."""
        key = (blob.sha256, blob.size)
        if key not in self._found:
            self._found[key] = await asyncio.to_thread(self._look, blob)
        return self._found[key]

    def _look(self, blob: Blob) -> str:
        try:
            self._blobs.get(blob)
        except Tampered:
            return f"blob {blob.sha256}, which the event names, was changed"
        except StoreError as error:
            if error.retryable:
                raise
            return f"{error.message}, and the event names it"
        return ""
