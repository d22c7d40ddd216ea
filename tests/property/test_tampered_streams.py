"""Events that are removed, moved or put in are reported, with the stream and the first position."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import StoreError
from events.open import open_store
from events.types import ModelAnswered
from tests.property.tampered_store import (
    IS_K,
    LENGTH,
    PAIRS,
    POSITIONS,
    STREAM,
    TamperedStore,
    execute,
    forms,
    set_form,
    where,
)


@given(POSITIONS)
def test_a_removed_event(store: TamperedStore, k: int) -> None:
    assert where(store.tampered(execute(f"DELETE FROM stored_events {IS_K}", k=k))) == [(STREAM, k)]


@given(POSITIONS)
def test_a_dropped_tail(store: TamperedStore, k: int) -> None:
    drop = f"DELETE FROM stored_events {IS_K}".replace("version =", "version >=")
    assert where(store.tampered(execute(drop, k=k))) == [(STREAM, k)]


@given(st.integers(1, LENGTH - 1))
def test_a_removed_event_with_the_others_moved_up(store: TamperedStore, k: int) -> None:
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


@given(PAIRS)
def test_two_events_in_each_other_s_place(store: TamperedStore, pair: list[int]) -> None:
    one, other = pair

    def swap(database: sqlite3.Connection) -> None:
        found = forms(database)
        set_form(database, one, found[other])
        set_form(database, other, found[one])

    assert where(store.tampered(swap)) == [(STREAM, min(pair))]


@given(PAIRS)
def test_two_events_with_each_other_s_position(store: TamperedStore, pair: list[int]) -> None:
    one, other = pair
    move = "UPDATE stored_events SET originator_version = {} WHERE originator_id = :s AND {}"
    swap = execute(
        move.format("0", f"originator_version = {one}"),
        move.format(one, f"originator_version = {other}"),
        move.format(other, "originator_version = 0"),
    )
    assert where(store.tampered(swap)) == [(STREAM, min(pair))]


@given(POSITIONS)
def test_an_event_a_second_time_at_the_end(store: TamperedStore, k: int) -> None:
    again = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, {LENGTH + 1}, topic, state FROM stored_events {IS_K}",
        k=k,
    )
    assert where(store.tampered(again)) == [(STREAM, LENGTH + 1)]


@given(POSITIONS)
def test_an_event_a_second_time_with_the_head_moved(store: TamperedStore, k: int) -> None:
    again = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, {LENGTH + 1}, topic, state FROM stored_events {IS_K}",
        "UPDATE heads SET position = position + 1 WHERE stream = :s",
        k=k,
    )
    assert where(store.tampered(again)) == [(STREAM, LENGTH + 1)]


@given(POSITIONS)
def test_one_position_twice(store: TamperedStore, k: int) -> None:
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


def test_an_event_put_in_before_the_first(store: TamperedStore) -> None:
    change = execute(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state) "
        f"SELECT originator_id, 0, topic, state FROM stored_events {IS_K}",
        k=3,
    )
    assert where(store.tampered(change)) == [(STREAM, 0)]


@given(POSITIONS, st.sampled_from(["'other'", "'new'", "x'ff'", "CAST(x'ff' AS TEXT)"]))
def test_an_event_given_to_another_stream(store: TamperedStore, k: int, value: str) -> None:
    """It is missing where it was, and stands where it should not."""
    position = 13 if value == "'other'" else k
    change = execute(
        f"UPDATE stored_events SET originator_id = {value}, originator_version = {position} {IS_K}",
        k=k,
    )
    # A name that is no text is no stream's.
    strays = {"'other'": [("other", 13)], "'new'": [("new", 1)]}.get(value, [])
    assert where(store.tampered(change)) == [*strays, (STREAM, k)]


@given(PAIRS)
def test_an_event_moved_in_the_store_s_own_order(store: TamperedStore, pair: list[int]) -> None:
    one, other = pair

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

    assert where(store.tampered(swap)) == [(STREAM, min(pair))]


# --- more than one -------------------------------------------------------------------------


def test_every_stream_reports_its_own(store: TamperedStore) -> None:
    change = execute("UPDATE stored_events SET topic = 'x' WHERE originator_version = 5")
    assert where(store.tampered(change)) == [("other", 5), (STREAM, 5)]


@given(st.sets(POSITIONS, min_size=2))
def test_of_several_removed_events_the_first_is_reported(
    store: TamperedStore, gone: set[int]
) -> None:
    removed = ", ".join(map(str, gone))
    change = execute(
        f"DELETE FROM stored_events WHERE originator_id = :s AND originator_version IN ({removed})"
    )
    assert where(store.tampered(change)) == [(STREAM, min(gone))]


# --- reading -------------------------------------------------------------------------------


def test_reading_stops_at_a_missing_event(store: TamperedStore) -> None:
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
