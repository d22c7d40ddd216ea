"""Audit: whether the store still holds what was written, found without keys and without replay."""

from __future__ import annotations

from pydantic import Field

from events.store import EventStore
from events.values import Value


class FaultView(Value):
    """The first place of a stream where the log is not what was written."""

    stream: str
    position: int
    what: str


class AuditReport(Value):
    """What was checked, and the first fault of every stream that has one."""

    intact: bool
    streams: int
    events: int = Field(description="that the streams' heads speak for")
    faults: tuple[FaultView, ...]


async def audit(store: EventStore, stream: str | None = None) -> AuditReport:
    """Check hash chain, positions and heads of one stream, or of all that there are.

    Events that are appended meanwhile are checked where they are met, and not counted.
    """
    heads = {
        head.stream: head.position
        for head in await store.heads()
        if stream is None or head.stream == stream
    }
    faults = tuple(
        [
            FaultView(stream=fault.stream, position=fault.position, what=fault.what)
            async for fault in store.verify(stream)
        ]
    )
    # A stream whose head was removed is known by its fault alone.
    names = heads.keys() | {fault.stream for fault in faults}
    return AuditReport(
        intact=not faults, streams=len(names), events=sum(heads.values()), faults=faults
    )
