"""What every event store does with an append, whatever it keeps its events in."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from events.chain import GENESIS, event_hash
from events.codec import MAX_STORED, Codec
from events.envelope import Event, Head
from events.errors import ConfigError, Conflict
from events.store import EventStore
from events.types import TurnCancelled, TurnCompleted
from tests.contract.store_contents import faults
from tests.event_samples import answered, batch, notes, said, started, turn_of

UNICODE = "Zürich 東京 🚀 > * . \n \u202e"


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
    (one,) = notes("s", 0, "a")
    assert (await store.append("s", 0, [one])).position == 1
    with pytest.raises(Conflict):
        await store.append("s", 0, [replace(one, by="user:eve")])
    assert said(await store.read("s")) == ["a", "b"]
