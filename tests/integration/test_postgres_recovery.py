"""PostgreSQL is killed while four writers append: nothing acknowledged is lost, nothing is double.

A caller whose append failed sends the same append again, as a router does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from events.envelope import Event, Head
from events.errors import Conflict, StoreError
from events.open import open_blobs, open_store
from events.store import EventStore
from tests.event_samples import notes, said
from tests.servers.postgres import PostgresServer
from tests.waiting import eventually


async def persistently(
    store: EventStore, stream: str, after: int, batch: Sequence[Event]
) -> tuple[Head, int]:
    """Append until it is answered; returns the head, and how often it failed."""
    heads: list[Head] = []
    failures = 0

    async def attempt() -> bool:
        nonlocal failures
        try:
            heads.append(await store.append(stream, after, batch))
        except Conflict:
            raise
        except StoreError as error:
            if not error.retryable:
                raise
            failures += 1
        return bool(heads)

    probe: Callable[[], bool | Awaitable[bool]] = attempt
    await eventually(probe, within=60, what=f"appending to {stream}")
    return heads[0], failures


async def test_a_killed_server_loses_and_doubles_nothing(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("room")
    stores = [open_store(url) for _ in range(4)]
    rounds, streams = 40, 5
    written: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def write(store: EventStore, name: str) -> int:
        failures = 0
        for n in range(rounds):
            batch = notes(name, 2 * n, f"{n}a", f"{n}b")
            head, failed = await persistently(store, name, 2 * n, batch)
            assert head.position == 2 * n + 2
            failures += failed
            written.put_nowait((name, head.position))
        return failures

    names = [(store, f"w{w}-s{s}") for w, store in enumerate(stores) for s in range(streams)]
    writing = [asyncio.ensure_future(write(store, name)) for store, name in names]
    acknowledged: dict[str, int] = {}
    for kills in (150, 350):
        while sum(acknowledged.values()) < 2 * kills:
            async with asyncio.timeout(60):
                name, position = await written.get()
            acknowledged[name] = position
        await asyncio.to_thread(postgres_server.kill)
        await asyncio.to_thread(postgres_server.restart)
    failures = sum(await asyncio.gather(*writing))
    assert failures > 0, "the server was never missed"

    for store, name in names:
        assert said(await store.read(name)) == [
            text for n in range(rounds) for text in (f"{n}a", f"{n}b")
        ]
    recorded = await stores[0].read_all(0, 10_000)
    assert len(recorded) == len({one.event.id for one in recorded}) == len(names) * rounds * 2
    assert [fault async for fault in stores[0].verify()] == []
    for store in stores:
        await store.close()


async def test_a_server_that_is_away_fails_calls_until_it_is_back(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.create_database("room")
    store, blobs = open_store(url), open_blobs(url)
    await store.append("s", 0, notes("s", 0, "before"))
    blob = await asyncio.to_thread(blobs.put, b"content")
    await asyncio.to_thread(postgres_server.kill)

    outcomes = await asyncio.gather(
        store.append("s", 1, notes("s", 1, "after")),
        store.append("t", 0, notes("t", 0, "another")),
        store.read("s"),
        store.head("s"),
        asyncio.to_thread(blobs.get, blob),
        return_exceptions=True,
    )
    assert all(isinstance(one, StoreError) and one.retryable for one in outcomes), outcomes

    await asyncio.to_thread(postgres_server.restart)
    await persistently(store, "s", 1, notes("s", 1, "after"))
    await persistently(store, "t", 0, notes("t", 0, "another"))
    assert said(await store.read("s")) == ["before", "after"]
    assert await asyncio.to_thread(blobs.get, blob) == b"content"
    assert [fault async for fault in store.verify()] == []
    blobs.close()
    await store.close()
