"""What every event store does, whatever it keeps its events in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from events.chain import GENESIS, event_hash
from events.codec import MAX_STORED, Codec
from events.envelope import Event, Head, Recorded
from events.errors import ConfigError, Conflict, StoreError
from events.open import open_store
from events.store import EventStore
from events.types import TurnCancelled, TurnCompleted
from tests.event_samples import answered, batch, event, notes, said, started, turn_of
from tests.stream_keys import Keys

UNICODE = "Zürich 東京 🚀 > * . \n \u202e"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path}/a room's events?.db"
        case "postgres":
            return str(request.getfixturevalue("postgres_database"))
        case _:
            return "memory:"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    store = open_store(url)
    yield store
    await store.close()


async def faults(store: EventStore) -> list[object]:
    return [fault async for fault in store.verify()]


async def all_of(store: EventStore, limit: int = 1000) -> list[Recorded]:
    """Everything in the store, page by page."""
    found: list[Recorded] = []
    while page := await store.read_all(found[-1].sequence if found else 0, limit):
        found += page
    return found


# --- append and read --------------------------------------------------------------------------


async def test_what_was_appended_is_read(store: EventStore) -> None:
    first, second = turn_of("s", 0, "turn_1"), turn_of("s", 6, "turn_2")
    await store.append("s", 0, first)
    await store.append("s", 6, second)
    assert await store.read("s") == first + second
    assert await faults(store) == []


async def test_reading_goes_on_behind_a_position(store: EventStore) -> None:
    await store.append("s", 0, notes("s", 0, "a", "b", "c", "d"))
    assert said(await store.read("s", 1)) == ["b", "c", "d"]
    assert said(await store.read("s", 1, 2)) == ["b", "c"]
    assert said(await store.read("s", limit=1)) == ["a"]
    assert await store.read("s", 4) == []
    assert await store.read("s", 99) == []


async def test_an_empty_store(store: EventStore) -> None:
    assert await store.read("s") == []
    assert await store.read_all() == []
    assert await store.head("s") is None
    assert await store.heads() == []
    assert await store.last() == 0
    assert await faults(store) == []


async def test_texts_of_any_script_come_back(store: EventStore) -> None:
    batch_ = notes(UNICODE, 0, UNICODE, "\0 and \x7f", "e\u0301 \u00e9", "")
    await store.append(UNICODE, 0, batch_)
    assert await store.read(UNICODE) == batch_
    assert [one.event for one in await store.read_all()] == batch_
    assert await faults(store) == []


async def test_names_that_differ_by_normal_form_or_case_are_two_streams(store: EventStore) -> None:
    for name in ("\u00e9", "e\u0301", "E", "e", "e "):
        await store.append(name, 0, notes(name, 0, name))
    for name in ("\u00e9", "e\u0301", "E", "e", "e "):
        assert said(await store.read(name)) == [name]


async def test_large_batches_go_in_whole(store: EventStore) -> None:
    answers = [answered(os.urandom(30_000).hex()) for _ in range(60)]
    await store.append("large", 0, batch("large", 0, *answers))
    await store.append("many", 0, notes("many", 0, *map(str, range(1500))))
    assert [one.data for one in await store.read("large")] == answers
    assert said(await store.read("many")) == [str(n) for n in range(1500)]
    assert await faults(store) == []


# --- heads ------------------------------------------------------------------------------------


async def test_the_head_is_the_last_event(store: EventStore) -> None:
    events = turn_of("s", 0, "turn_1")
    returned = await store.append("s", 0, events)
    codec, expected = Codec(), GENESIS
    for one in events:
        form = codec.encode(one, expected)
        expected = event_hash("s", one.position, one.type, form)
    assert returned == Head("s", 6, expected, None)
    assert await store.head("s") == returned
    assert await store.heads() == [returned]


async def test_the_head_knows_the_open_turn(store: EventStore) -> None:
    steps = [
        (batch("s", 0, started(), turn="t1"), "t1"),
        (batch("s", 1, TurnCancelled(), turn="t2"), "t1"),
        (batch("s", 2, TurnCompleted(), started(), turn="t3"), "t3"),
        (batch("s", 4, TurnCancelled(), turn="t3"), None),
    ]
    for events, open_turn in steps:
        head = await store.append("s", events[0].position - 1, events)
        assert (head.open_turn, await store.head("s")) == (open_turn, head)
    assert await faults(store) == []


async def test_heads_are_sorted_by_name(store: EventStore) -> None:
    names = ["b", "a", "Z", "ä", "z", "_", "東京", "a-b", "ab", "🚀", "\uffee"]
    for name in names:
        await store.append(name, 0, notes(name, 0, name))
    assert [head.stream for head in await store.heads()] == sorted(names)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "after", "events", "why"),
    [
        ("s", 0, [], "at least one event"),
        ("s", 0, notes("s", 1, "a"), "position 1 next, not s at 2"),
        ("s", 0, [*notes("s", 0, "a"), *notes("s", 2, "c")], "position 2 next, not s at 3"),
        ("s", 0, [*notes("s", 0, "a"), *notes("s", 0, "a")], "position 2 next, not s at 1"),
        ("s", 0, notes("t", 0, "a"), "position 1 next, not t at 1"),
        ("s", -1, notes("s", -1, "a"), "positions count from 1"),
        ("", 0, notes("", 0, "a"), "1 to 512 bytes"),
        ("s" * 513, 0, notes("s" * 513, 0, "a"), "1 to 512 bytes"),
        ("a\0b", 0, notes("a\0b", 0, "a"), "no NUL"),
        ("\ud800", 0, notes("\ud800", 0, "a"), "not valid Unicode"),
        ("s", 0, notes("s", 0, "\ud800"), "cannot be stored as JSON"),
        ("s", 0, batch("s", 0, answered(os.urandom(MAX_STORED).hex())), "blob"),
    ],
)
async def test_what_no_store_could_keep_is_refused(
    store: EventStore, stream: str, after: int, events: list[Event], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        await store.append(stream, after, events)
    assert await store.last() == 0
    assert await store.heads() == []


@pytest.mark.parametrize("after", [0, 1, 3, 7])
async def test_an_append_elsewhere_than_at_the_head_conflicts(
    store: EventStore, after: int
) -> None:
    await store.append("s", 0, notes("s", 0, "a", "b"))
    head = await store.head("s")
    with pytest.raises(Conflict, match="s is at position 2") as caught:
        await store.append("s", after, notes("s", after, "x", "y"))
    assert caught.value.retryable
    assert said(await store.read("s")) == ["a", "b"]
    assert await store.head("s") == head


async def test_a_conflict_on_a_stream_that_is_not_there(store: EventStore) -> None:
    with pytest.raises(Conflict, match="s is at position 0"):
        await store.append("s", 3, notes("s", 3, "x"))
    assert await store.heads() == []


async def test_after_a_conflict_the_stream_goes_on(store: EventStore) -> None:
    await store.append("s", 0, notes("s", 0, "a"))
    with pytest.raises(Conflict):
        await store.append("s", 0, notes("s", 0, "x"))
    await store.append("s", 1, notes("s", 1, "b"))
    assert said(await store.read("s")) == ["a", "b"]
    assert await faults(store) == []


# --- a reply that was lost --------------------------------------------------------------------


async def test_the_same_append_again_is_the_same_append(store: EventStore) -> None:
    events = turn_of("s", 0, "turn_1")
    head = await store.append("s", 0, events)
    assert await store.append("s", 0, turn_of("s", 0, "turn_1")) == head
    assert await store.read("s") == events


async def test_the_same_append_again_when_the_stream_went_on(store: EventStore) -> None:
    first = batch("s", 0, started(), turn="t1")
    head = await store.append("s", 0, first)
    await store.append("s", 1, batch("s", 1, TurnCompleted(), turn="t1"))
    assert await store.append("s", 0, first) == head
    assert head.open_turn == "t1"
    assert len(await store.read("s")) == 2


async def test_nearly_the_same_append_conflicts(store: EventStore) -> None:
    await store.append("s", 0, notes("s", 0, "a", "b"))
    for other in (notes("s", 0, "a", "B"), notes("s", 0, "a", "b", "c")):
        with pytest.raises(Conflict):
            await store.append("s", 0, other)
    one = event("s", 1, TurnCancelled(reason="a"))
    other_principal = Event("s", 1, one.at, "user:eve", one.data, one.command, cause=one.cause)
    with pytest.raises(Conflict):
        await store.append("s", 0, [other_principal])
    assert said(await store.read("s")) == ["a", "b"]


# --- encrypted streams ------------------------------------------------------------------------


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


# --- many at once -----------------------------------------------------------------------------


async def test_appends_to_many_streams_at_once(store: EventStore) -> None:
    async def session(name: str) -> None:
        head = None
        for n in range(4):
            head = await store.append(name, 2 * n, notes(name, 2 * n, f"{n}a", f"{n}b"))
        assert head == await store.head(name)

    names = [f"session-{n}" for n in range(200)]
    await asyncio.gather(*map(session, names))
    for name in names[::20]:
        assert said(await store.read(name)) == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b"]
    everything = await all_of(store, 97)
    assert len(everything) == len({one.event.id for one in everything}) == 1600
    assert await store.last() == everything[-1].sequence
    assert await faults(store) == []


async def test_one_append_behind_the_other_without_waiting(store: EventStore) -> None:
    heads = await asyncio.gather(*(store.append("s", n, notes("s", n, f"{n}")) for n in range(100)))
    assert [head.position for head in heads] == list(range(1, 101))
    assert said(await store.read("s")) == [str(n) for n in range(100)]
    assert await faults(store) == []


async def test_of_many_appends_at_one_position_one_wins(store: EventStore) -> None:
    outcomes = await asyncio.gather(
        *(store.append("s", 0, notes("s", 0, f"{n}")) for n in range(20)), return_exceptions=True
    )
    won = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Head)]
    assert len(won) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
    assert said(await store.read("s")) == [str(won[0])]


async def test_a_bad_append_fails_only_its_own_caller(store: EventStore) -> None:
    await store.append("taken", 0, notes("taken", 0, "first"))
    too_large = batch("large", 0, answered(os.urandom(MAX_STORED).hex()))
    calls = []
    for n in range(30):
        calls.append(store.append(f"s{n}", 0, notes(f"s{n}", 0, "fine")))
        calls.append(store.append("taken", 0, notes("taken", 0, f"late {n}")))
        calls.append(store.append("large", 0, too_large))
        calls.append(store.append("ahead", 5, notes("ahead", 5, "too early")))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, Head) for outcome in outcomes[0::4])
    assert all(isinstance(outcome, Conflict) for outcome in outcomes[1::4])
    assert all(type(outcome) is ConfigError for outcome in outcomes[2::4])
    assert all(isinstance(outcome, Conflict) for outcome in outcomes[3::4])
    assert [head.stream for head in await store.heads()] == sorted(
        ["taken", *(f"s{n}" for n in range(30))]
    )
    assert await faults(store) == []


async def test_a_cancelled_caller_leaves_a_whole_append(store: EventStore) -> None:
    calls = [
        asyncio.ensure_future(store.append(f"s{n}", 0, turn_of(f"s{n}", 0, "t"))) for n in range(40)
    ]
    started_ = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(started_.set_result, None)
    await started_
    for call in calls[::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert all(isinstance(outcome, Head) for outcome in outcomes[1::2])
    await store.append("after", 0, notes("after", 0, "all of them"))
    for n in range(40):
        # All were submitted before some were cancelled, so all are there, and whole.
        assert await store.read(f"s{n}") == turn_of(f"s{n}", 0, "t")
    assert await faults(store) == []


# --- the order of the whole store -------------------------------------------------------------


async def test_the_store_s_order_is_the_order_of_commits(store: EventStore) -> None:
    for n in range(5):
        await store.append("a", n, notes("a", n, f"a{n}"))
        await store.append("b", 2 * n, notes("b", 2 * n, f"b{n}", f"b{n}'"))
    found = await store.read_all()
    assert said([one.event for one in found]) == [
        text for n in range(5) for text in (f"a{n}", f"b{n}", f"b{n}'")
    ]
    sequences = [one.sequence for one in found]
    assert sequences == sorted(set(sequences))
    assert sequences[0] > 0
    assert await store.read_all(sequences[3], 2) == found[4:6]
    assert await store.read_all(sequences[-1]) == []


async def test_a_follower_misses_nothing_while_others_write(store: EventStore) -> None:
    writers, rounds = 4, 60

    async def write(name: str) -> None:
        for n in range(rounds):
            await store.append(name, 2 * n, notes(name, 2 * n, f"{n}a", f"{n}b"))

    async def follow() -> list[Recorded]:
        seen: list[Recorded] = []
        while len(seen) < writers * rounds * 2:
            seen += await store.read_all(seen[-1].sequence if seen else 0, 50)
        return seen

    async with asyncio.timeout(60):
        followed, *_ = await asyncio.gather(follow(), *(write(f"w{n}") for n in range(writers)))
    assert followed == await all_of(store)
    for n in range(writers):
        positions = [one.event.position for one in followed if one.event.stream == f"w{n}"]
        assert positions == list(range(1, 2 * rounds + 1))


# --- the end ----------------------------------------------------------------------------------


async def test_closing_waits_for_what_was_submitted(url: str) -> None:
    store = open_store(url)
    calls = [
        asyncio.ensure_future(store.append(f"s{n}", 0, notes(f"s{n}", 0, "x"))) for n in range(50)
    ]
    first, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert first
    await store.close()
    assert all(isinstance(head, Head) for head in await asyncio.gather(*calls))


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
