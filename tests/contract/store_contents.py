"""What is in an event store, and whether all of it is as it was written."""

from __future__ import annotations

from events.envelope import Recorded
from events.store import EventStore


async def faults(store: EventStore) -> list[object]:
    return [fault async for fault in store.verify()]


async def all_of(store: EventStore, limit: int = 1000) -> list[Recorded]:
    """Everything in the store, page by page."""
    found: list[Recorded] = []
    while page := await store.read_all(found[-1].sequence if found else 0, limit):
        found += page
    return found
