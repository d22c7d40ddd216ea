"""What of an event store outlives it: its end, its next process, a reader without the keys."""

from __future__ import annotations

import pytest

from events.errors import ConfigError, StoreError
from events.open import open_store
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

    async def test_nothing_to_read_is_a_clear_error(self, url: str) -> None:
        with pytest.raises(ConfigError, match="start a room"):
            open_store(url, read_only=True)


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
