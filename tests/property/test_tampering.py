"""Whatever is changed behind the store's back is reported, with its stream and position."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StoreError
from events.open import open_store
from events.store import Fault
from events.types import ModelAnswered
from tests.event_samples import answered, batch, started, turn_of

STREAM, LENGTH = "sess_1", 15
"""Two whole turns and one that is open; one event is long enough to be compressed."""

Tamper = Callable[[sqlite3.Connection], object]


class Store:
    """A SQLite event store, and copies of it that are tampered with."""

    def __init__(self, folder: Path) -> None:
        self.original, self.copy = folder / "original.db", folder / "copy.db"
        asyncio.run(self._write())
        with closing(sqlite3.connect(self.original)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _write(self) -> None:
        store = open_store(f"sqlite:///{self.original}")
        # Two streams in turns, so that a stream's sequences have gaps.
        for n, turn in enumerate(("turn_1", "turn_2")):
            for stream in (STREAM, "other"):
                await store.append(stream, 6 * n, turn_of(stream, 6 * n, turn))
        long = answered("A long answer. " * 200)
        await store.append(STREAM, 12, batch(STREAM, 12, started(), long, long, turn="turn_3"))
        assert [fault async for fault in store.verify()] == []
        await store.close()

    def tampered(self, tamper: Tamper) -> list[Fault]:
        """The faults that are found after `tamper`."""
        shutil.copyfile(self.original, self.copy)
        with closing(sqlite3.connect(self.copy)) as database:
            tamper(database)
            database.commit()
        return self.faults()

    def faults(self) -> list[Fault]:
        async def verify() -> list[Fault]:
            store = open_store(f"sqlite:///{self.copy}", read_only=True)
            try:
                return [fault async for fault in store.verify()]
            finally:
                await store.close()

        return asyncio.run(verify())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("tampering"))


def execute(*statements: str, **values: Any) -> Tamper:
    """SQL, in which `:s` is the stream."""

    def tamper(database: sqlite3.Connection) -> None:
        for statement in statements:
            assert database.execute(statement, {"s": STREAM, **values}).rowcount

    return tamper


def forms(database: sqlite3.Connection) -> dict[int, bytes]:
    return dict(
        database.execute(
            "SELECT originator_version, state FROM stored_events WHERE originator_id = ?",
            (STREAM,),
        )
    )


def set_form(database: sqlite3.Connection, position: int, form: bytes) -> None:
    database.execute(
        "UPDATE stored_events SET state = ? WHERE originator_id = ? AND originator_version = ?",
        (form, STREAM, position),
    )


def where(faults: list[Fault]) -> list[tuple[str, int]]:
    return [(fault.stream, fault.position) for fault in faults]


POSITIONS = st.integers(1, LENGTH)
IS_K = "WHERE originator_id = :s AND originator_version = :k"


def test_an_untouched_store_has_no_fault(store: Store) -> None:
    assert store.tampered(lambda database: None) == []


# --- bytes ---------------------------------------------------------------------------------


@given(POSITIONS, st.integers(0), st.integers(1, 255))
def test_any_byte_of_any_event(store: Store, position: int, at: int, mask: int) -> None:
    def flip(database: sqlite3.Connection) -> None:
        form = bytearray(forms(database)[position])
        form[at % len(form)] ^= mask
        set_form(database, position, bytes(form))

    assert where(store.tampered(flip)) == [(STREAM, position)]


@pytest.mark.parametrize("position", [1, 2, LENGTH - 1, LENGTH])
def test_every_byte_of_the_header_and_of_what_follows(store: Store, position: int) -> None:
    async def verify() -> None:
        shutil.copyfile(store.original, store.copy)
        reader = open_store(f"sqlite:///{store.copy}", read_only=True)
        with closing(sqlite3.connect(store.copy)) as database:
            form = forms(database)[position]
            for at in range(min(len(form), 400)):
                flipped = bytearray(form)
                flipped[at] ^= 1 << at % 8
                set_form(database, position, bytes(flipped))
                database.commit()
                found = [fault async for fault in reader.verify(STREAM)]
                assert where(found) == [(STREAM, position)], at
            set_form(database, position, form)
            database.commit()
            assert [fault async for fault in reader.verify()] == []
        await reader.close()

    asyncio.run(verify())


@given(POSITIONS, st.integers(0), st.binary(min_size=1, max_size=3))
def test_bytes_taken_away_or_put_in(store: Store, position: int, at: int, more: bytes) -> None:
    def shorten(database: sqlite3.Connection) -> None:
        form = forms(database)[position]
        set_form(database, position, form[: at % len(form)])

    def lengthen(database: sqlite3.Connection) -> None:
        form = forms(database)[position]
        cut = at % (len(form) + 1)
        set_form(database, position, form[:cut] + more + form[cut:])

    assert where(store.tampered(shorten)) == [(STREAM, position)]
    assert where(store.tampered(lengthen)) == [(STREAM, position)]


@given(POSITIONS)
def test_an_event_rewritten_in_good_form(store: Store, position: int) -> None:
    """The forger knows the stored form, but not how to make the next event agree."""

    def rewrite(database: sqlite3.Connection) -> None:
        form = forms(database)[position]
        forged = form[:3] + b"\0" + form[4:39] + b"turn_1" + b'{"at":"2026-11-23T12:00:00Z"}'
        set_form(database, position, forged)

    assert where(store.tampered(rewrite)) == [(STREAM, position)]


# --- rows ----------------------------------------------------------------------------------


@given(POSITIONS)
def test_a_removed_event(store: Store, k: int) -> None:
    assert where(store.tampered(execute(f"DELETE FROM stored_events {IS_K}", k=k))) == [(STREAM, k)]


@given(POSITIONS)
def test_a_dropped_tail(store: Store, k: int) -> None:
    drop = f"DELETE FROM stored_events {IS_K}".replace("version =", "version >=")
    assert where(store.tampered(execute(drop, k=k))) == [(STREAM, k)]


@given(st.integers(1, LENGTH - 1))
def test_a_removed_event_with_the_others_moved_up(store: Store, k: int) -> None:
    up = execute(
        f"DELETE FROM stored_events {IS_K}",
        "UPDATE stored_events SET originator_version = -originator_version "
        "WHERE originator_id = :s AND originator_version > :k",
        "UPDATE stored_events SET originator_version = -originator_version - 1 "
        "WHERE originator_id = :s AND originator_version < 0",
        "UPDATE heads SET position = position - 1 WHERE stream = :s",
        k=k,
    )
    assert where(store.tampered(up)) == [(STREAM, k)]


@given(POSITIONS, POSITIONS)
def test_two_events_in_each_other_s_place(store: Store, one: int, other: int) -> None:
    def swap(database: sqlite3.Connection) -> None:
        found = forms(database)
        set_form(database, one, found[other])
        set_form(database, other, found[one])

    assert where(store.tampered(swap)) == ([(STREAM, min(one, other))] if one != other else [])


@given(POSITIONS, POSITIONS)
def test_two_events_with_each_other_s_position(store: Store, one: int, other: int) -> None:
    move = "UPDATE stored_events SET originator_version = {} WHERE originator_id = :s AND {}"
    swap = execute(
        move.format("0", f"originator_version = {one}"),
        move.format(one, f"originator_version = {other}"),
        move.format(other, "originator_version = 0"),
    )
    if one != other:
        assert where(store.tampered(swap)) == [(STREAM, min(one, other))]


@given(POSITIONS)
def test_an_event_a_second_time_at_the_end(store: Store, k: int) -> None:
    again = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, {LENGTH + 1}, topic, state FROM stored_events {IS_K}",
        k=k,
    )
    assert where(store.tampered(again)) == [(STREAM, LENGTH + 1)]


@given(POSITIONS)
def test_an_event_a_second_time_with_the_head_moved(store: Store, k: int) -> None:
    again = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, {LENGTH + 1}, topic, state FROM stored_events {IS_K}",
        "UPDATE heads SET position = position + 1 WHERE stream = :s",
        k=k,
    )
    assert where(store.tampered(again)) == [(STREAM, LENGTH + 1)]


@given(POSITIONS)
def test_one_position_twice(store: Store, k: int) -> None:
    """Where the table was made anew without its rule against that."""
    twice = execute(
        "CREATE TABLE anew (rowid INTEGER PRIMARY KEY AUTOINCREMENT, originator_id TEXT, "
        "originator_version INTEGER, topic TEXT, state BLOB)",
        "INSERT INTO anew SELECT * FROM stored_events",
        "DROP TABLE stored_events",
        "ALTER TABLE anew RENAME TO stored_events",
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, originator_version, topic, state FROM stored_events {IS_K}",
        k=k,
    )
    assert where(store.tampered(twice)) == [(STREAM, k)]


# --- columns -------------------------------------------------------------------------------


@given(POSITIONS)
def test_an_event_given_another_type(store: Store, k: int) -> None:
    change = execute(f"UPDATE stored_events SET topic = topic || 'x' {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["x'ff'", "CAST(x'c3' AS TEXT)", "7", "''"]))
def test_a_type_that_is_none(store: Store, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET topic = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["'text'", "12", "x''"]))
def test_a_form_that_is_none(store: Store, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET state = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["0", "-3", "99", "'many'", "x'00'"]))
def test_an_event_given_another_position(store: Store, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET originator_version = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


def test_an_event_put_in_before_the_first(store: Store) -> None:
    change = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, 0, topic, state FROM stored_events {IS_K}",
        k=3,
    )
    assert where(store.tampered(change)) == [(STREAM, 0)]


@given(POSITIONS, st.sampled_from(["'other'", "'new'", "x'ff'", "CAST(x'ff' AS TEXT)"]))
def test_an_event_given_to_another_stream(store: Store, k: int, value: str) -> None:
    """It is missing where it was, and stands where it should not."""
    position = 13 if value == "'other'" else k
    change = execute(
        f"UPDATE stored_events SET originator_id = {value}, originator_version = {position} {IS_K}",
        k=k,
    )
    found = where(store.tampered(change))
    assert (STREAM, k) in found
    if value == "'other'":
        assert ("other", 13) in found
    if value == "'new'":
        assert ("new", 1) in found


@given(POSITIONS, POSITIONS)
def test_an_event_moved_in_the_store_s_own_order(store: Store, one: int, other: int) -> None:
    def swap(database: sqlite3.Connection) -> None:
        rows = dict(
            database.execute(
                "SELECT originator_version, rowid FROM stored_events WHERE originator_id = ?",
                (STREAM,),
            )
        )
        move = "UPDATE stored_events SET rowid = ? WHERE rowid = ?"
        database.execute(move, (-1, rows[one]))
        database.execute(move, (rows[one], rows[other]))
        database.execute(move, (rows[other], -1))

    assert where(store.tampered(swap)) == ([(STREAM, min(one, other))] if one != other else [])


# --- heads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(LENGTH))
def test_a_head_moved_back(store: Store, position: int) -> None:
    change = execute(f"UPDATE heads SET position = {position} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, position + 1)]


@given(st.integers(LENGTH + 1, 2**63 - 1))
def test_a_head_moved_on(store: Store, position: int) -> None:
    change = execute(f"UPDATE heads SET position = {position} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH + 1)]


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_head_with_another_hash(store: Store, at: int, mask: int) -> None:
    def flip(database: sqlite3.Connection) -> None:
        query = "SELECT hash FROM heads WHERE stream = ?"
        changed = bytearray(database.execute(query, (STREAM,)).fetchone()[0])
        changed[at] ^= mask
        execute("UPDATE heads SET hash = :hash WHERE stream = :s", hash=bytes(changed))(database)

    assert where(store.tampered(flip)) == [(STREAM, LENGTH)]


@given(st.sampled_from(["NULL", "'turn_2'", "''", "x'ff'", "CAST(x'ff' AS TEXT)", "3"]))
def test_a_head_with_another_open_turn(store: Store, value: str) -> None:
    change = execute(f"UPDATE heads SET open_turn = {value} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_an_open_turn_where_none_is(store: Store) -> None:
    change = execute("UPDATE heads SET open_turn = 'turn_2' WHERE stream = 'other'")
    assert where(store.tampered(change)) == [("other", 12)]


@pytest.mark.parametrize("value", ["'many'", "x'00'", "-1"])
def test_a_head_whose_position_is_no_number(store: Store, value: str) -> None:
    change = execute(f"UPDATE heads SET position = {value} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_events_without_a_head(store: Store) -> None:
    change = execute("DELETE FROM heads WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_a_head_without_events(store: Store) -> None:
    change = execute("INSERT INTO heads VALUES ('empty', 3, zeroblob(32), NULL)")
    assert where(store.tampered(change)) == [("empty", 1)]


def test_a_head_given_to_another_stream(store: Store) -> None:
    change = execute("UPDATE heads SET stream = 'new' WHERE stream = :s")
    assert sorted(where(store.tampered(change))) == [("new", 1), (STREAM, LENGTH)]


# --- more than one -------------------------------------------------------------------------


def test_every_stream_reports_its_own(store: Store) -> None:
    change = execute("UPDATE stored_events SET topic = 'x' WHERE originator_version = 5")
    assert where(store.tampered(change)) == [("other", 5), (STREAM, 5)]


@given(st.sets(POSITIONS, min_size=2))
def test_of_several_removed_events_the_first_is_reported(store: Store, gone: set[int]) -> None:
    removed = ", ".join(map(str, gone))
    change = execute(
        f"DELETE FROM stored_events WHERE originator_id = :s AND originator_version IN ({removed})"
    )
    assert where(store.tampered(change)) == [(STREAM, min(gone))]


# --- reading -------------------------------------------------------------------------------


def test_reading_stops_at_a_missing_event(store: Store) -> None:
    store.tampered(execute(f"DELETE FROM stored_events {IS_K}", k=4))

    async def read() -> None:
        reader = open_store(f"sqlite:///{store.copy}", read_only=True)
        try:
            assert len(await reader.read(STREAM, limit=3)) == 3
            with pytest.raises(StoreError, match=r"sess_1 at position 4: the event is missing"):
                await reader.read(STREAM)
            assert isinstance((await reader.read(STREAM, 13))[0].data, ModelAnswered)
        finally:
            await reader.close()

    asyncio.run(read())
