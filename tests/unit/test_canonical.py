"""Canonical JSON against RFC 8785's own examples and an independent reference."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.canonical import HeadChain, canonical, canonical_json, es_digits
from events.chain import GENESIS
from events.codec import Codec
from events.envelope import Event
from events.errors import ConfigError
from events.types import TimerSet, TurnCancelled
from tests.event_samples import NOON, answered, asked, event, events
from tests.payload_samples import JSON

# Appendix B of RFC 8785: the bits of a double, and its text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_of_the_specification(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert es_digits(value) == text
    assert canonical_json([value]) == f"[{text}]".encode()


def test_the_example_of_the_specification() -> None:
    given = r"""{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(json.loads(given)) == expected.encode()


def test_keys_are_sorted_as_the_specification_does() -> None:
    members = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "😀": "Emoji: Grinning Face",
        "\u0080": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    in_order = list(json.loads(canonical_json(members)))
    assert in_order == ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]


@given(st.text())
@example("".join(map(chr, range(0x300))))
def test_texts_are_escaped_as_the_specification_says(text: str) -> None:
    assert canonical_json(text).decode() == json.dumps(text, ensure_ascii=False)


def reference(value: Any) -> str:
    """RFC 8785 by another road: `json` for texts, `decimal` for numbers."""
    match value:
        case bool() | None | str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return str(value) if abs(value) < 2**53 else f'"{value}"'
        case float():
            return reference_number(value)
        case list():
            return f"[{','.join(map(reference, value))}]"
        case dict():
            keys = sorted(value, key=lambda key: list(key.encode("utf-16-be")))
            return f"{{{','.join(f'{reference(key)}:{reference(value[key])}' for key in keys)}}}"
    raise AssertionError(value)


def reference_number(value: float) -> str:
    number = Decimal(repr(value)).normalize()
    if number == 0:
        return "0"
    size = number.adjusted()
    if -6 <= size < 21:
        return f"{number:f}"
    mantissa = f"{number.scaleb(-size):f}"
    return f"{mantissa}e{size:+d}"


@given(JSON)
def test_any_json_is_canonical(tree: Any) -> None:
    assert canonical_json(tree).decode() == reference(tree)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-7)
@example(1e-6)
@example(1e-5)
@example(9.999999e-5)
@example(0.0001)
@example(1e15)
@example(1e16)
@example(2.0**53)
@example(123456789012345.6)
@example(1e21)
def test_any_number_is_canonical(value: float) -> None:
    assert canonical_json(value).decode() == reference_number(value)


def test_what_is_not_finite_is_a_string() -> None:
    infinity = float("inf")
    assert canonical_json([infinity, -infinity, infinity - infinity]) == b'["inf","-inf","nan"]'


# --- events -----------------------------------------------------------------------------------


def test_the_canonical_form_of_an_event_never_changes() -> None:
    one = event("sess_1", 7, TimerSet(seconds=600), turn="turn_1")
    assert canonical(one) == (
        b'{"at":"2026-11-23T12:00:07Z","by":"user:ada","cause":6,"command":"command-7",'
        b'"data":{"seconds":600},"position":7,"step":null,"stream":"sess_1","turn":"turn_1",'
        b'"type":"timer.set","version":1}'
    )


@given(events())
def test_any_event_is_canonical(one: Event) -> None:
    tree = {
        "at": one.at.isoformat().replace("+00:00", "Z"),
        "by": one.by,
        "cause": one.cause,
        "command": one.command,
        "data": one.data.model_dump(mode="json"),
        "position": one.position,
        "step": one.step,
        "stream": one.stream,
        "turn": one.turn,
        "type": one.type,
        "version": one.version,
    }
    assert canonical(one).decode() == reference(tree)


def test_decimals_keep_their_digits() -> None:
    assert b'"amount":"0.00123"' in canonical(event("s", 1, answered()))


def test_text_that_is_not_unicode_has_no_canonical_form() -> None:
    with pytest.raises(ConfigError, match=r"turn.cancelled at position 1 of s"):
        canonical(event("s", 1, TurnCancelled(reason="\ud800")))


# --- the head of a replay ---------------------------------------------------------------------


def test_the_head_is_a_chain_of_sha256() -> None:
    batch = [event("s", 1, asked()), event("s", 2, answered()), event("s", 3, TurnCancelled())]
    chain, expected = HeadChain(), bytes(32)
    assert chain.hexdigest() == "00" * 32
    for one in batch:
        chain.add(one)
        expected = sha256(expected + canonical(one)).digest()
        assert chain.hexdigest() == expected.hex()


@given(st.lists(events(), max_size=4))
def test_events_read_from_the_store_have_the_same_head(batch: list[Event]) -> None:
    codec, written, read = Codec(), HeadChain(), HeadChain()
    for one in batch:
        stored = codec.encode(one, GENESIS)
        written.add(one)
        read.add_canonical(canonical(codec.decode(one.stream, one.position, one.type, stored)))
    assert written.hexdigest() == read.hexdigest()


@given(events(), events())
def test_other_events_have_another_head(one: Event, other: Event) -> None:
    first, second = HeadChain(), HeadChain()
    first.add(one)
    second.add(other)
    assert (first.hexdigest() == second.hexdigest()) == (canonical(one) == canonical(other))


def test_the_order_of_events_changes_the_head() -> None:
    one, other = event("s", 1, asked()), event("s", 2, answered())
    first, second = HeadChain(), HeadChain()
    first.add(one)
    first.add(other)
    second.add(other)
    second.add(one)
    assert first.hexdigest() != second.hexdigest()


def test_a_moment_later_is_another_event() -> None:
    one = event("s", 1, asked())
    later = Event(one.stream, 1, NOON.replace(microsecond=1), one.by, one.data)
    assert canonical(one) != canonical(later)
