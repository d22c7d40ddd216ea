"""The stored form: what is written is read, by this release and by later ones."""

from __future__ import annotations

import math
import os
import zlib
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.canonical import canonical
from events.chain import GENESIS
from events.codec import COMPRESSED, ENCRYPTED, MAX_STORED, Codec, read_header
from events.envelope import Event
from events.errors import ConfigError, StoreError, Tampered, UnknownEvent
from events.registry import Registry
from events.types import PAYLOADS, Input, TurnCancelled, TurnCompleted
from tests.event_samples import NOON, answered, event, events
from tests.payload_samples import PAYLOAD_STRATEGIES
from tests.stream_keys import Keys

CODEC = Codec()


def read_back(stored: bytes, original: Event, codec: Codec = CODEC) -> Event:
    return codec.decode(original.stream, original.position, original.type, stored)


def test_there_is_a_sample_of_every_type() -> None:
    assert set(PAYLOAD_STRATEGIES) == set(PAYLOADS)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda one: one.type)
@given(data=st.data())
def test_every_type_is_read_as_it_was_written(payload: Any, data: st.DataObject) -> None:
    original = data.draw(events(PAYLOAD_STRATEGIES[payload]))
    stored = CODEC.encode(original, GENESIS)
    again = read_back(stored, original)
    assert again == original
    assert canonical(again) == canonical(original)
    assert CODEC.encode(again, GENESIS) == stored


def test_numbers_that_are_not_finite_are_read_as_they_were_written() -> None:
    data = answered().model_copy(update={"usage_raw": {"a": math.inf, "b": [-math.inf]}})
    original = event("s", 1, data.model_copy(update={"duration_ms": math.nan}))
    again = read_back(CODEC.encode(original, GENESIS), original)
    assert again.data.usage_raw == {"a": math.inf, "b": [-math.inf]}  # type: ignore[attr-defined]
    assert math.isnan(again.data.duration_ms)  # type: ignore[attr-defined]


def test_the_stored_form_never_changes() -> None:
    original = event("sess_1", 7, TurnCancelled(reason="enough"), turn="turn_1")
    previous = bytes(range(32))
    assert CODEC.encode(original, previous) == (
        b"CR\x01\x00\x00\x01\x06" + previous + b"turn_1"
        b'{"at":"2026-11-23T12:00:07Z","by":"user:ada","command":"command-7","cause":6,'
        b'"data":{"reason":"enough"}}'
    )


def test_the_header_is_read_without_the_payload() -> None:
    stored = CODEC.encode(event("s", 1, TurnCompleted(), turn="turn_ß"), GENESIS)
    header = read_header(stored)
    assert (header.flags, header.version, header.previous) == (0, 1, GENESIS)
    assert header.turn == "turn_ß"
    assert stored[header.start :].startswith(b'{"at":')


def test_payloads_above_one_kilobyte_are_compressed() -> None:
    short = CODEC.encode(event("s", 1, answered("word " * 50)), GENESIS)
    long = CODEC.encode(event("s", 1, answered("word " * 2000)), GENESIS)
    assert read_header(short).flags == 0
    assert read_header(long).flags == COMPRESSED
    assert len(long) < 1500


def test_what_does_not_get_shorter_is_not_compressed() -> None:
    noise = os.urandom(4000).hex()
    packed = zlib.compress(noise.encode(), 1)
    original = event("s", 1, answered(noise))
    stored = CODEC.encode(original, GENESIS)
    assert len(packed) < len(noise), "hexadecimal noise does get shorter"
    assert read_header(stored).flags == COMPRESSED
    assert read_back(stored, original) == original


# --- other releases ---------------------------------------------------------------------------


class Greeted(Input):
    """A type that exists in three versions: `name`, then `names`, then `names` and `language`."""

    type: ClassVar[str] = "test.greeted"
    version: ClassVar[int] = 3
    names: tuple[str, ...]
    language: str
    warmth: int = 5


def to_names(data: dict[str, Any]) -> dict[str, Any]:
    return {"names": [data["name"]]}


def to_language(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "language": "en"}


UPCASTS = {("test.greeted", 1): to_names, ("test.greeted", 2): to_language}


def stored_greeting(version: int, data: str) -> bytes:
    body = f'{{"at":"2026-11-23T12:00:00Z","by":"user:ada","cause":4,"data":{data}}}'
    return b"CR\x01\x00" + version.to_bytes(2) + b"\x00" + GENESIS + body.encode()


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (1, '{"name": "Ada"}'),
        (2, '{"names": ["Ada"]}'),
        (3, '{"names": ["Ada"], "language": "en"}'),
        (3, '{"names": ["Ada"], "language": "en", "warmth": 5}'),
    ],
)
def test_older_versions_are_upcast(version: int, data: str) -> None:
    codec = Codec(Registry((Greeted,), UPCASTS))
    greeted = codec.decode("s", 5, "test.greeted", stored_greeting(version, data))
    assert greeted.data == Greeted(names=("Ada",), language="en")
    assert (greeted.version, greeted.by, greeted.cause) == (3, "user:ada", 4)


def test_a_newer_version_is_not_guessed_at() -> None:
    codec = Codec(Registry((Greeted,), UPCASTS))
    with pytest.raises(UnknownEvent, match=r"s at position 5: test.greeted version 4"):
        codec.decode("s", 5, "test.greeted", stored_greeting(4, '{"names": [], "language": "en"}'))


def test_an_unknown_type_is_not_guessed_at() -> None:
    with pytest.raises(UnknownEvent, match=r"'test.greeted' is not known"):
        CODEC.decode("s", 5, "test.greeted", stored_greeting(1, '{"name": "Ada"}'))


def test_a_newer_stored_form_is_not_guessed_at() -> None:
    stored = bytearray(CODEC.encode(event("s", 1, TurnCompleted()), GENESIS))
    stored[2] = 2
    with pytest.raises(UnknownEvent, match="stored form 2"):
        CODEC.decode("s", 1, "turn.completed", bytes(stored))


def test_an_upcast_that_fails_names_the_event() -> None:
    codec = Codec(Registry((Greeted,), UPCASTS))
    with pytest.raises(Tampered, match=r"s at position 5: .*test.greeted"):
        codec.decode("s", 5, "test.greeted", stored_greeting(1, '{"nom": "Ada"}'))


def test_a_version_without_upcast_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="nothing upcasts version 2"):
        Registry((Greeted,), {("test.greeted", 1): to_names})


def test_two_types_of_one_name_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"two event classes are called 'test.greeted'"):
        Registry((Greeted, Greeted), UPCASTS)


# --- what cannot be stored, and what cannot have been -----------------------------------------


def changed(**values: Any) -> Event:
    fields: dict[str, Any] = {
        "stream": "s", "position": 1, "at": NOON, "by": "user:ada", "data": TurnCancelled(),
    }  # fmt: skip
    return Event(**{**fields, **values})


@pytest.mark.parametrize(
    ("unstorable", "why"),
    [
        (changed(by="\ud800"), "cannot be stored as JSON"),
        (changed(data=TurnCancelled(reason="\udfff")), "cannot be stored as JSON"),
        (changed(turn="\ud800"), "not valid Unicode"),
        (changed(turn=""), "1 to 255 bytes"),
        (changed(turn="t" * 256), "1 to 255 bytes"),
        (changed(turn="a\0b"), "no NUL"),
        (changed(at=NOON.replace(tzinfo=None)), "time zone"),
        (changed(at=NOON.astimezone(timezone(timedelta(hours=2)))), "UTC"),
        (changed(data=Greeted(names=(), language="en")), "not in the registry"),
    ],
)
def test_what_could_not_be_read_is_not_written(unstorable: Event, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        CODEC.encode(unstorable, GENESIS)


def test_too_large_an_event_asks_for_a_blob() -> None:
    noise = os.urandom(MAX_STORED).hex()
    with pytest.raises(ConfigError, match=r"at most 262144 .*blob"):
        CODEC.encode(event("s", 1, answered(noise)), GENESIS)


def test_a_large_event_that_compresses_well_is_still_bounded() -> None:
    with pytest.raises(ConfigError, match="blob"):
        CODEC.encode(event("s", 1, answered("a" * 5_000_000)), GENESIS)


def test_reading_is_bounded_too() -> None:
    bomb = b"CR\x01\x01\x00\x01\x00" + GENESIS + zlib.compress(b" " * 50_000_000)
    with pytest.raises(Tampered, match="does not end where it should"):
        CODEC.decode("s", 1, "turn.completed", bomb)


GOOD = CODEC.encode(event("s", 1, answered("word " * 2000), turn="turn_1"), GENESIS)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"CR",
        GOOD[:20],
        b"XY" + GOOD[2:],
        GOOD[:50],
        GOOD[:-1],
        GOOD + b"!",
        GOOD[:6] + b"\xff" + GOOD[7:],
        GOOD[:39] + b"\xff" + GOOD[40:],
        b"CR\x01\x00\x00\x01\x00" + GENESIS,
        b"CR\x01\x00\x00\x01\x00" + GENESIS + b"{}",
        b"CR\x01\x00\x00\x01\x00" + GENESIS + b'{"at":"2026-11-23T12:00:00Z","by":"a","data":{}}',
    ],
)  # fmt: skip
def test_damage_is_reported_with_its_position(damaged: bytes) -> None:
    with pytest.raises(Tampered, match="s at position 9") as caught:
        CODEC.decode("s", 9, "model.answered", damaged)
    assert (caught.value.stream, caught.value.position) == ("s", 9)


def test_an_error_does_not_repeat_what_was_said() -> None:
    body = b'{"at":"2026-11-23T12:00:00Z","by":"a","data":{"reason":["private words"]}}'
    with pytest.raises(Tampered) as caught:
        CODEC.decode("s", 1, "turn.cancelled", b"CR\x01\x00\x00\x01\x00" + GENESIS + body)
    assert "data.reason" in str(caught.value)
    assert "private" not in str(caught.value)


# --- encryption -------------------------------------------------------------------------------


@given(original=events())
def test_an_encrypted_event_is_read_with_its_key(original: Event) -> None:
    codec = Codec(cipher=Keys(original.stream))
    stored = codec.encode(original, GENESIS)
    assert read_header(stored).flags & ENCRYPTED
    assert read_back(stored, original, codec) == original


def test_nothing_of_an_encrypted_payload_is_readable() -> None:
    codec = Codec(cipher=Keys("s"))
    stored = codec.encode(event("s", 1, answered("a very private answer")), GENESIS)
    assert b"private" not in stored
    assert b"user:ada" not in stored


def test_a_stream_without_a_key_stays_clear() -> None:
    codec = Codec(cipher=Keys("other"))
    original = event("s", 1, answered())
    stored = codec.encode(original, GENESIS)
    assert read_header(stored).flags == 0
    assert read_back(stored, original) == original


def test_an_encrypted_event_without_keys_says_so() -> None:
    stored = Codec(cipher=Keys("s")).encode(event("s", 1, answered()), GENESIS)
    with pytest.raises(StoreError, match="s at position 1 is encrypted, and no keys") as caught:
        CODEC.decode("s", 1, "model.answered", stored)
    assert not isinstance(caught.value, Tampered)


def test_a_destroyed_key_says_so() -> None:
    keys = Keys("s")
    codec = Codec(cipher=keys)
    stored = codec.encode(event("s", 1, answered()), GENESIS)
    keys.keys["s"] = None
    with pytest.raises(StoreError, match="its key is not at hand"):
        codec.decode("s", 1, "model.answered", stored)


@pytest.mark.parametrize(
    ("stream", "position", "type_name"),
    [("t", 1, "model.answered"), ("s", 2, "model.answered"), ("s", 1, "turn.cancelled")],
)
def test_an_encrypted_event_opens_at_its_own_place_only(
    stream: str, position: int, type_name: str
) -> None:
    keys = Keys("s")
    keys.keys["t"] = keys.keys["s"]
    codec = Codec(cipher=keys)
    stored = codec.encode(event("s", 1, answered()), GENESIS)
    with pytest.raises(Tampered, match="the key does not fit"):
        codec.decode(stream, position, type_name, stored)


def test_times_are_kept_to_the_microsecond() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=NOON.tzinfo)
    original = changed(at=at)
    assert read_back(CODEC.encode(original, GENESIS), original).at == at
