"""What every event store does when many write, read and leave at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable
from typing import Any

from events.codec import MAX_STORED
from events.envelope import Head, Recorded
from events.errors import ConfigError, Conflict
from events.open import open_store
from events.store import EventStore
from tests.contract.store_contents import all_of, faults
from tests.event_samples import answered, batch, notes, said, turn_of


async def submitted(
    appends: Iterable[Coroutine[Any, Any, Head]],
) -> list[asyncio.Task[Head]]:
    """Appends that have reached the store, whether or not they are written yet."""
    calls = [asyncio.create_task(append) for append in appends]
    begun = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(begun.set_result, None)
    await begun
    return calls


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
    calls = await submitted(store.append(f"s{n}", 0, turn_of(f"s{n}", 0, "t")) for n in range(40))
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
    calls = await submitted(store.append(f"s{n}", 0, notes(f"s{n}", 0, "x")) for n in range(50))
    await store.close()
    assert all(isinstance(head, Head) for head in await asyncio.gather(*calls))
