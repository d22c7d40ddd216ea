"""Whatever is changed in an event is reported, with its stream and position."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.open import open_store
from tests.property.tampered_store import (
    IS_K,
    LENGTH,
    POSITIONS,
    STREAM,
    TamperedStore,
    execute,
    forms,
    set_form,
    where,
)


def test_an_untouched_store_has_no_fault(store: TamperedStore) -> None:
    assert store.tampered(lambda database: None) == []


# --- bytes ---------------------------------------------------------------------------------


@given(POSITIONS, st.integers(0), st.integers(1, 255))
def test_any_byte_of_any_event(store: TamperedStore, position: int, at: int, mask: int) -> None:
    def flip(database: sqlite3.Connection) -> None:
        form = bytearray(forms(database)[position])
        form[at % len(form)] ^= mask
        set_form(database, position, bytes(form))

    assert where(store.tampered(flip)) == [(STREAM, position)]


@pytest.mark.parametrize("position", [1, 2, LENGTH - 1, LENGTH])
def test_every_byte_of_the_header_and_of_what_follows(store: TamperedStore, position: int) -> None:
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
def test_bytes_taken_away_or_put_in(
    store: TamperedStore, position: int, at: int, more: bytes
) -> None:
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
def test_an_event_rewritten_in_good_form(store: TamperedStore, position: int) -> None:
    """The forger knows the stored form, but not how to make the next event agree."""

    def rewrite(database: sqlite3.Connection) -> None:
        form = forms(database)[position]
        forged = form[:3] + b"\0" + form[4:39] + b"turn_1" + b'{"at":"2026-11-23T12:00:00Z"}'
        set_form(database, position, forged)

    (fault,) = store.tampered(rewrite)
    assert (fault.stream, fault.position) == (STREAM, position)
    assert "changed" in fault.what, "only the chain can tell"


@given(POSITIONS)
def test_an_event_given_another_type(store: TamperedStore, k: int) -> None:
    change = execute(f"UPDATE stored_events SET topic = topic || 'x' {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["x'ff'", "CAST(x'c3' AS TEXT)", "7", "''"]))
def test_a_type_that_is_none(store: TamperedStore, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET topic = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["'text'", "12", "x''"]))
def test_a_form_that_is_none(store: TamperedStore, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET state = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]


@given(POSITIONS, st.sampled_from(["0", "-3", "99", "'many'", "x'00'"]))
def test_an_event_given_another_position(store: TamperedStore, k: int, value: str) -> None:
    change = execute(f"UPDATE stored_events SET originator_version = {value} {IS_K}", k=k)
    assert where(store.tampered(change)) == [(STREAM, k)]
