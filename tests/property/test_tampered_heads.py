"""Whatever is changed in a head is reported, with its stream and position."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.tampered_store import LENGTH, STREAM, TamperedStore, execute, where


@pytest.mark.parametrize("position", range(LENGTH))
def test_a_head_moved_back(store: TamperedStore, position: int) -> None:
    change = execute(f"UPDATE heads SET position = {position} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, position + 1)]


@given(st.integers(LENGTH + 1, 2**63 - 1))
def test_a_head_moved_on(store: TamperedStore, position: int) -> None:
    change = execute(f"UPDATE heads SET position = {position} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH + 1)]


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_head_with_another_hash(store: TamperedStore, at: int, mask: int) -> None:
    def flip(database: sqlite3.Connection) -> None:
        query = "SELECT hash FROM heads WHERE stream = ?"
        changed = bytearray(database.execute(query, (STREAM,)).fetchone()[0])
        changed[at] ^= mask
        execute("UPDATE heads SET hash = :hash WHERE stream = :s", hash=bytes(changed))(database)

    assert where(store.tampered(flip)) == [(STREAM, LENGTH)]


@given(st.sampled_from(["NULL", "'turn_2'", "''", "x'ff'", "CAST(x'ff' AS TEXT)", "3"]))
def test_a_head_with_another_open_turn(store: TamperedStore, value: str) -> None:
    change = execute(f"UPDATE heads SET open_turn = {value} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_an_open_turn_where_none_is(store: TamperedStore) -> None:
    change = execute("UPDATE heads SET open_turn = 'turn_2' WHERE stream = 'other'")
    assert where(store.tampered(change)) == [("other", 12)]


@pytest.mark.parametrize("value", ["'many'", "x'00'", "-1"])
def test_a_head_whose_position_is_no_number(store: TamperedStore, value: str) -> None:
    change = execute(f"UPDATE heads SET position = {value} WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_events_without_a_head(store: TamperedStore) -> None:
    change = execute("DELETE FROM heads WHERE stream = :s")
    assert where(store.tampered(change)) == [(STREAM, LENGTH)]


def test_a_head_without_events(store: TamperedStore) -> None:
    change = execute("INSERT INTO heads VALUES ('empty', 3, zeroblob(32), NULL)")
    assert where(store.tampered(change)) == [("empty", 1)]


def test_a_head_given_to_another_stream(store: TamperedStore) -> None:
    change = execute("UPDATE heads SET stream = 'new' WHERE stream = :s")
    assert sorted(where(store.tampered(change))) == [("new", 1), (STREAM, LENGTH)]
