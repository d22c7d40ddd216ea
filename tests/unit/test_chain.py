"""The hash of an event covers all that is stored of it."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from events.chain import event_hash, place

NAMES = st.text(max_size=6)
PLACES = st.tuples(NAMES, st.integers(0, 2**64 - 1), NAMES)


def test_the_hash_never_changes() -> None:
    where = b"\0\0\0\x03s\xc3\x9f" + b"\0\0\0\0\0\0\0\x07" + b"\0\0\0\x04kind"
    assert place("sß", 7, "kind") == where
    assert event_hash("sß", 7, "kind", b"form") == sha256(where + b"form").digest()


@given(PLACES, PLACES, st.binary(max_size=4), st.binary(max_size=4))
def test_two_events_are_never_the_same_bytes(
    one: tuple[str, int, str], other: tuple[str, int, str], form: bytes, other_form: bytes
) -> None:
    same = (one, form) == (other, other_form)
    assert (event_hash(*one, form) == event_hash(*other, other_form)) == same


@given(PLACES, st.integers(1, 20), st.binary(max_size=30))
def test_moving_bytes_between_the_parts_changes_the_hash(
    where: tuple[str, int, str], cut: int, form: bytes
) -> None:
    stream, position, kind = where
    moved = stream + kind[:cut], position, kind[cut:]
    assert (event_hash(*where, form) == event_hash(*moved, form)) == (where == moved)
