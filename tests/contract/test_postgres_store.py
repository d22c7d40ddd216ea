"""What the PostgreSQL store does besides: any number of writers on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import LiteralString

import psycopg
import pytest

from events.envelope import Head, Recorded
from events.errors import ConfigError, Conflict, StoreError
from events.open import open_blobs, open_store
from events.store import EventStore, Fault
from tests.event_samples import notes, said, turn_of


@pytest.fixture
async def stores(postgres_database: str) -> AsyncIterator[list[EventStore]]:
    """Four stores on one database, as four processes would have them."""
    async with AsyncExitStack() as stack:
        stores = [open_store(postgres_database) for _ in range(4)]
        for store in stores:
            stack.push_async_callback(store.close)
        yield stores


async def faults(store: EventStore) -> list[Fault]:
    return [fault async for fault in store.verify()]


async def test_a_follower_misses_nothing_of_four_writers(stores: list[EventStore]) -> None:
    rounds, streams = 30, 10
    total = len(stores) * streams * rounds * 2

    async def write(store: EventStore, name: str) -> None:
        for n in range(rounds):
            await store.append(name, 2 * n, notes(name, 2 * n, f"{n}a", f"{n}b"))

    async def follow() -> list[Recorded]:
        seen: list[Recorded] = []
        while len(seen) < total:
            seen += await stores[0].read_all(seen[-1].sequence if seen else 0, 100)
        return seen

    async with asyncio.timeout(90):
        following = asyncio.ensure_future(follow())
        await asyncio.gather(
            *(
                write(store, f"writer-{w}-{s}")
                for w, store in enumerate(stores)
                for s in range(streams)
            )
        )
        followed = await following
    assert len({one.event.id for one in followed}) == total
    assert followed == await stores[1].read_all(0, total + 1)
    assert await faults(stores[2]) == []


async def test_of_two_writers_at_one_position_one_wins(stores: list[EventStore]) -> None:
    for n in range(20):
        outcomes = await asyncio.gather(
            *(store.append("s", n, notes("s", n, f"{n} by {w}")) for w, store in enumerate(stores)),
            return_exceptions=True,
        )
        won = [w for w, outcome in enumerate(outcomes) if isinstance(outcome, Head)]
        assert len(won) == 1
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 3
        assert said(await stores[n % 4].read("s", n)) == [f"{n} by {won[0]}"]
    assert await faults(stores[0]) == []


async def test_a_stream_may_pass_from_writer_to_writer(stores: list[EventStore]) -> None:
    for n in range(20):
        await stores[n % 4].append("s", n, notes("s", n, str(n)))
    assert said(await stores[0].read("s")) == [str(n) for n in range(20)]
    assert await faults(stores[0]) == []


async def test_a_foreign_conflict_fails_only_its_own_caller(stores: list[EventStore]) -> None:
    mine, other = stores[:2]
    names = [f"s{n}" for n in range(20)]
    for name in names:
        await mine.append(name, 0, notes(name, 0, "a"))
    for name in names[::5]:
        await other.append(name, 1, notes(name, 1, "taken"))
    outcomes = await asyncio.gather(
        *(mine.append(name, 1, notes(name, 1, "b")) for name in names), return_exceptions=True
    )
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [
        n % 5 == 0 for n in range(20)
    ]
    for n, name in enumerate(names):
        assert said(await other.read(name)) == ["a", "b" if n % 5 else "taken"]
    assert await faults(mine) == []


async def test_the_same_append_from_two_writers_is_one(stores: list[EventStore]) -> None:
    heads = await asyncio.gather(*(store.append("s", 0, notes("s", 0, "a")) for store in stores))
    assert len(set(heads)) == 1
    assert await stores[0].last() == (await stores[0].read_all())[0].sequence


async def test_tables_are_made_once_by_many(postgres_database: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_store, [postgres_database] * 8))
    await opened[0].append("s", 0, notes("s", 0, "a"))
    for store in opened:
        assert said(await store.read("s")) == ["a"]
        await store.close()


async def test_an_append_does_not_wait_for_vacuum(
    stores: list[EventStore], postgres_database: str
) -> None:
    # The lock that VACUUM holds on the table while it works.
    async with await psycopg.AsyncConnection.connect(postgres_database) as vacuum:
        await vacuum.execute("LOCK TABLE stored_events IN SHARE UPDATE EXCLUSIVE MODE")
        async with asyncio.timeout(10):
            await stores[0].append("s", 0, notes("s", 0, "a"))


@pytest.mark.parametrize(
    ("tamper", "position"),
    [
        ("UPDATE stored_events SET state = set_byte(state, 50, 1) WHERE {} = 3", 3),
        ("UPDATE stored_events SET state = set_byte(state, 50, 1) WHERE {} = 6", 6),
        ("UPDATE stored_events SET topic = 'turn.failed' WHERE {} = 2", 2),
        ("DELETE FROM stored_events WHERE {} = 4", 4),
        ("DELETE FROM stored_events WHERE {} > 4", 5),
        ("DELETE FROM heads WHERE stream = 's'", 6),
        ("UPDATE heads SET hash = sha256(hash)", 6),
        ("UPDATE heads SET open_turn = 'turn_1'", 6),
        ("UPDATE heads SET position = 5", 6),
        ("INSERT INTO heads VALUES ('t', 1, '', NULL)", 1),
    ],
)
async def test_tampering_is_found(
    postgres_database: str, tamper: LiteralString, position: int
) -> None:
    store = open_store(postgres_database)
    await store.append("s", 0, turn_of("s", 0, "turn_1"))
    assert await faults(store) == []
    with psycopg.connect(postgres_database) as connection:
        connection.execute(tamper.replace("{}", "originator_version"))
    assert [fault.position for fault in await faults(store)] == [position]
    await store.close()


async def test_another_schema_is_refused(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE room_schema (version integer)")
        connection.execute("INSERT INTO room_schema VALUES (77)")
    for opening in (open_store, open_blobs):
        with pytest.raises(ConfigError, match="schema 77, this release reads 1"):
            opening(postgres_database)


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    url = "postgresql://ada:secret@127.0.0.1:1/room"
    with pytest.raises(StoreError, match="PostgreSQL does not answer") as caught:
        open_store(url)
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


def test_a_url_that_is_not_one_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="percent-encoded") as caught:
        open_store("postgresql://ada:sec%zzret@127.0.0.1:1/room")
    assert "sec" not in str(caught.value)
