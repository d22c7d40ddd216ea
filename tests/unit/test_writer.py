"""Group commit: what goes into one transaction, and what a failing database does to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from threading import Event as Signal
from typing import Any

import pytest
from eventsourcing.persistence import OperationalError, StoredEvent

import events.commit
import events.writer
from events.envelope import Event, Head
from events.errors import Conflict, StoreError
from events.journal import Journal
from events.recorders.memory import MemoryRecorder
from events.recorders.port import Advance
from tests.event_samples import answered, batch, notes, said

Failure = Callable[[], BaseException]


class Database(MemoryRecorder):
    """A recorder that can be held, and that fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[Sequence[StoredEvent]] = []
        self.looked_up: list[str] = []
        self.reconnected = 0
        self.entered, self.let_go = Signal(), Signal()
        self.let_go.set()
        self.fail_before: list[Failure | None] = []  # one for each of the next inserts
        self.fail_after: list[Failure | None] = []

    def insert(self, events: Sequence[StoredEvent], advances: Sequence[Advance]) -> frozenset[str]:
        self.entered.set()
        assert self.let_go.wait(10)
        _next(self.fail_before)
        self.transactions.append(events)
        refused = super().insert(events, advances)
        _next(self.fail_after)
        return refused

    def heads(self, streams: Sequence[str] | None = None) -> list[Head]:
        self.looked_up += streams or ()
        return super().heads(streams)

    def reconnect(self) -> None:
        self.reconnected += 1


def _next(failures: list[Failure | None]) -> None:
    failure = failures.pop(0) if failures else None
    if failure is not None:
        raise failure()


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Journal]:
    store = Journal(database)
    yield store
    database.let_go.set()
    await store.close()


async def queued(
    store: Journal, database: Database, batches: dict[str, list[Event]]
) -> list[Head | BaseException]:
    """Submit all batches while a first transaction is held, then let go; their outcomes."""
    database.let_go.clear()
    database.entered.clear()
    first = asyncio.ensure_future(store.append("first", 0, notes("first", 0, "x")))
    await asyncio.to_thread(database.entered.wait)
    calls = [asyncio.ensure_future(store.append(name, 0, one)) for name, one in batches.items()]
    submitted = asyncio.Event()
    asyncio.get_running_loop().call_soon(submitted.set)
    await submitted.wait()
    database.let_go.set()
    await first
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_what_waits_goes_into_one_transaction(store: Journal, database: Database) -> None:
    outcomes = await queued(
        store, database, {f"s{n}": notes(f"s{n}", 0, "a", "b") for n in range(99)}
    )
    assert all(isinstance(one, Head) for one in outcomes)
    assert [len(events) for events in database.transactions] == [1, 198]


async def test_a_transaction_has_at_most_so_many_events(store: Journal, database: Database) -> None:
    await queued(store, database, {f"s{n}": notes(f"s{n}", 0, *"abc") for n in range(400)})
    sizes = [len(events) for events in database.transactions]
    assert sum(sizes) == 1201
    assert max(sizes) == events.writer.MAX_EVENTS - events.writer.MAX_EVENTS % 3


async def test_a_transaction_has_at_most_so_many_bytes(store: Journal, database: Database) -> None:
    noise = {f"s{n}": batch(f"s{n}", 0, answered(os.urandom(20_000).hex())) for n in range(40)}
    await queued(store, database, noise)
    sizes = [sum(len(event.state) for event in events) for events in database.transactions]
    assert all(size <= events.writer.MAX_BYTES for size in sizes)
    assert len(sizes) < 8


async def test_one_large_append_has_a_transaction_of_its_own(
    store: Journal, database: Database
) -> None:
    await queued(
        store,
        database,
        {
            "a": notes("a", 0, "x"),
            "large": notes("large", 0, *map(str, range(2 * events.writer.MAX_EVENTS))),
            "b": notes("b", 0, "x"),
        },
    )
    assert [len(events) for events in database.transactions] == [
        1,
        1,
        2 * events.writer.MAX_EVENTS,
        1,
    ]


async def test_a_transaction_wakes_the_loop_once(
    store: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[int] = []
    resolve = events.writer._resolve

    def counted(answered: Any) -> None:
        woken.append(len(answered))
        resolve(answered)

    monkeypatch.setattr("events.writer._resolve", counted)
    await queued(store, database, {f"s{n}": notes(f"s{n}", 0, "a") for n in range(50)})
    assert woken == [1, 50]


async def test_heads_are_looked_up_once(store: Journal, database: Database) -> None:
    for n in range(5):
        await store.append("s", n, notes("s", n, str(n)))
    assert database.looked_up == ["s"]


async def test_known_heads_are_bounded(
    store: Journal, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events.commit, "KNOWN_HEADS", 10)
    names = [f"s{n}" for n in range(30)]
    for position in range(3):
        await asyncio.gather(
            *(store.append(name, position, notes(name, position, "x")) for name in names)
        )
    committer = store._writer._committer  # type: ignore[union-attr]
    await store.append("last", 0, notes("last", 0, "x"))
    assert len(committer._heads) <= 10
    assert [head.position for head in await store.heads() if head.stream != "last"] == [3] * 30


# --- failures ------------------------------------------------------------------------------


def connection_lost() -> Exception:
    return OperationalError("the connection is lost")


async def test_a_failing_database_fails_all_that_wait_and_then_recovers(
    store: Journal, database: Database
) -> None:
    await store.append("s", 0, notes("s", 0, "before"))
    names = [f"s{n}" for n in range(5)]
    # The transaction that is held passes, the one behind it fails.
    database.fail_before += [None, connection_lost]
    outcomes = await queued(store, database, {name: notes(name, 0, "x") for name in names})
    assert [str(one) for one in outcomes] == ["appending failed: the connection is lost"] * 5
    assert all(isinstance(one, StoreError) and one.retryable for one in outcomes)
    assert len({id(one) for one in outcomes}) == 5, "an error of its own for every caller"
    assert database.reconnected == 1
    await store.append("s", 1, notes("s", 1, "after"))
    assert said(await store.read("s")) == ["before", "after"]


async def test_a_reply_lost_after_the_commit_is_no_second_event(
    store: Journal, database: Database
) -> None:
    database.fail_after.append(connection_lost)
    with pytest.raises(StoreError) as caught:
        await store.append("s", 0, notes("s", 0, "a", "b"))
    assert caught.value.retryable
    head = await store.append("s", 0, notes("s", 0, "a", "b"))
    assert head.position == 2
    assert said(await store.read("s")) == ["a", "b"]
    assert [fault async for fault in store.verify()] == []


async def test_a_reply_lost_after_the_commit_is_no_cover_for_another_event(
    store: Journal, database: Database
) -> None:
    database.fail_after.append(connection_lost)
    with pytest.raises(StoreError):
        await store.append("s", 0, notes("s", 0, "a"))
    with pytest.raises(Conflict):
        await store.append("s", 0, notes("s", 0, "b"))


async def test_a_fault_of_our_own_does_not_end_the_writer(
    store: Journal, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.fail_before.append(lambda: TypeError("a fault of our own"))
    with pytest.raises(StoreError, match="TypeError: a fault of our own") as caught:
        await store.append("s", 0, notes("s", 0, "a"))
    assert not caught.value.retryable
    assert "the event writer failed" in caplog.text
    await store.append("s", 0, notes("s", 0, "a"))
    assert said(await store.read("s")) == ["a"]


async def test_a_store_serves_several_loops(store: Journal) -> None:
    async def elsewhere(name: str) -> Head:
        return await store.append(name, 0, notes(name, 0, "x"))

    heads = await asyncio.gather(
        *(asyncio.to_thread(asyncio.run, elsewhere(f"s{n}")) for n in range(5)), elsewhere("here")
    )
    assert [head.position for head in heads] == [1] * 6


async def test_a_loop_that_is_gone_disturbs_nobody(store: Journal, database: Database) -> None:
    async def leave() -> None:
        database.let_go.clear()
        append = asyncio.ensure_future(store.append("gone", 0, notes("gone", 0, "x")))
        await asyncio.to_thread(database.entered.wait)
        append.cancel()

    await asyncio.to_thread(asyncio.run, leave())
    database.let_go.set()
    await store.append("s", 0, notes("s", 0, "a"))
    assert said(await store.read("gone")) == ["x"]


async def test_a_writer_whose_thread_has_ended_refuses_rather_than_waits(
    store: Journal, database: Database
) -> None:
    database.fail_before = [None, SystemExit]
    batches = {f"s{n}": notes(f"s{n}", 0, *"abc") for n in range(400)}
    waiting = await asyncio.wait_for(queued(store, database, batches), 10)
    assert {type(one) for one in waiting} == {StoreError}
    assert {str(one).partition(":")[0] for one in waiting} == {
        "the event store's writing thread has ended"
    }
    with pytest.raises(StoreError, match="has ended: see the log"):
        await asyncio.wait_for(store.append("later", 0, notes("later", 0, "x")), 20)
    assert await store.read("first")
