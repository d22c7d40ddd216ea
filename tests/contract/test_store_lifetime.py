"""What of an event store outlives it: its end, its next process, a reader without the keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest

from events.errors import ConfigError, StoreError
from events.open import open_store, sqlite_path
from events.types import TurnCompleted
from tests.contract.store_contents import faults
from tests.event_samples import batch, notes, said, started, turn_of
from tests.stream_keys import Keys


async def test_a_closed_store_says_so(url: str) -> None:
    store = open_store(url)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.append("s", 0, notes("s", 0, "x"))
    with pytest.raises(StoreError, match="closed"):
        await store.read("s")
    await store.close()


@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
class TestLasting:
    """What outlives the process."""

    async def test_a_store_opened_again_goes_on(self, url: str) -> None:
        store = open_store(url)
        head = await store.append("s", 0, batch("s", 0, started(), turn="t1"))
        last = await store.last()
        await store.close()
        again = open_store(url)
        assert await again.head("s") == head
        assert await again.last() == last
        await again.append("s", 1, batch("s", 1, TurnCompleted(), turn="t1"))
        assert [one.position for one in await again.read("s")] == [1, 2]
        assert await faults(again) == []
        await again.close()

    async def test_a_reader_sees_what_a_writer_appends(self, url: str) -> None:
        store = open_store(url)
        reader = open_store(url, read_only=True)
        for n in range(5):
            head = await store.append("s", n, notes("s", n, f"{n}"))
            assert await reader.head("s") == head
        assert said(await reader.read("s")) == ["0", "1", "2", "3", "4"]
        assert len(await reader.read_all()) == 5
        assert await faults(reader) == []
        with pytest.raises(StoreError, match="read-only"):
            await reader.append("s", 5, notes("s", 5, "x"))
        await store.close()
        assert said(await reader.read("s", 4)) == ["4"]
        await reader.close()
        alone = open_store(url, read_only=True)
        assert await alone.last() == 5
        await alone.close()

    async def test_a_store_is_for_the_partitions_that_it_was_made_for(self, url: str) -> None:
        store = open_store(url, partitions=8)
        head = await store.append("s", 0, notes("s", 0, "x"))
        await store.close()
        for read_only in (False, True):
            with pytest.raises(ConfigError, match="made for 8 partitions, and this room uses 64"):
                open_store(url, read_only=read_only)
        again = open_store(url, partitions=8)
        assert await again.head("s") == head
        await again.close()

    async def test_a_store_that_does_not_say_its_partitions_has_64(self, url: str) -> None:
        store = open_store(url)
        await store.close()
        _forget_partitions(url)
        reader = open_store(url, read_only=True)
        await reader.close()
        with pytest.raises(ConfigError, match="made for 64 partitions"):
            open_store(url, partitions=8)
        store = open_store(url)
        await store.close()

    async def test_nothing_to_read_is_a_clear_error(self, url: str) -> None:
        with pytest.raises(ConfigError, match="start a room"):
            open_store(url, read_only=True)


def _forget_partitions(url: str) -> None:
    """The store as it was before it kept the number."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(sqlite_path(url))) as database:
            database.execute("DROP TABLE partitions")
    else:
        with psycopg.connect(url) as connection:
            connection.execute("DROP TABLE room_partitions")


@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
async def test_an_encrypted_stream_is_audited_without_its_key(url: str) -> None:
    keys = Keys("secret")
    store = open_store(url, cipher=keys)
    events = turn_of("secret", 0, "t1") + batch("secret", 6, started(), turn="t2")
    head = await store.append("secret", 0, events)
    await store.append("open", 0, turn_of("open", 0, "t1"))
    assert await store.append("secret", 0, events) == head
    assert await store.read("secret") == events
    await store.close()
    without = open_store(url, read_only=True)
    assert (await without.head("secret")) == head
    assert head.open_turn == "t2"
    assert await faults(without) == []
    with pytest.raises(StoreError, match="is encrypted"):
        await without.read("secret")
    assert await without.read("open") == turn_of("open", 0, "t1")
    await without.close()
