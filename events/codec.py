"""The stored form of an event.

A clear header, readable without any key, and the payload:

    magic     2 bytes   "CR"
    format    1 byte    1
    flags     1 byte    1: compressed, 2: encrypted
    version   2 bytes   of the payload's schema, big-endian
    turn      1 byte    length of the turn id, 0 for an event outside a turn
    previous  32 bytes  hash of the event before (see `events.chain`)
    turn id             in clear, so that a stream's open turn can be audited without keys
    payload             JSON; compressed above 1 kB; encrypted where the stream has a key

Stream, position and type are columns of the store. They, too, are covered by the event's hash, and
bound to an encrypted payload as associated data.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields
from typing import Any, NamedTuple, Protocol

import orjson
from pydantic_core import PydanticSerializationError

from events.chain import place
from events.envelope import Event
from events.errors import ConfigError, StoreError, Tampered, UnknownEvent
from events.registry import Body, Registry, first_error

MAGIC = b"CR"
FORMAT = 1
COMPRESSED, ENCRYPTED = 1, 2

COMPRESS_ABOVE = 1024
"""Payloads of more bytes than this are compressed."""

MAX_STORED = 256 * 1024
"""Longest stored form in bytes."""

MAX_PLAIN = 4 * 1024 * 1024
"""Longest payload in bytes before compression: bounds what reading one event may cost."""

MAX_NAME = 512
"""Longest stream name in UTF-8 bytes."""

_HEADER = struct.Struct(">2sBBHB32s")
_PREFIX = struct.Struct(">2sBBHB")


class Cipher(Protocol):
    """Encrypts payloads with a key of each stream's own; destroying it makes a stream unreadable.

    `associated` is authenticated with the payload, so that it opens at its own place only.
    """

    def encrypt(self, stream: str, plain: bytes, associated: bytes) -> bytes | None:
        """The encrypted payload, or None where this stream is kept in clear."""
        ...

    def decrypt(self, stream: str, sealed: bytes, associated: bytes) -> bytes:
        """The payload; raises `KeyError` without the key, `ValueError` where it does not fit."""
        ...


class Sealed(NamedTuple):
    """A stored form that lacks only the previous hash, which is known when it is its turn."""

    stream: str
    position: int
    type: str
    turn: str | None
    prefix: bytes
    rest: bytes

    @property
    def size(self) -> int:
        """Length of the stored form in bytes."""
        return _HEADER.size + len(self.rest)

    def after(self, previous: bytes) -> bytes:
        """The stored form behind the event of that hash."""
        return self.prefix + previous + self.rest


class Header(NamedTuple):
    """What the clear header says; `start` is where the payload begins."""

    flags: int
    version: int
    previous: bytes
    turn: str | None
    start: int


def read_header(form: bytes) -> Header:
    """The clear header; raises `ValueError` where there is none, `UnknownEvent` for a newer one."""
    return Header._make(_header(form))


def _header(form: bytes) -> tuple[int, int, bytes, str | None, int]:
    try:
        magic, layout, flags, version, length, previous = _HEADER.unpack_from(form)
    except struct.error:
        raise ValueError("shorter than a header") from None
    if magic != MAGIC:
        raise ValueError("does not begin like a stored event")
    if layout != FORMAT or flags & ~(COMPRESSED | ENCRYPTED):
        raise UnknownEvent(
            f"stored form {layout} with flags {flags} is not known to this release, "
            f"which reads form {FORMAT}: use the release that wrote it"
        )
    start = _HEADER.size + length
    if start > len(form):
        raise ValueError("shorter than its header says")
    turn = form[_HEADER.size : start].decode() if length else None
    return flags, version, previous, turn, start


class Codec:
    """Turns events into their stored form and back.

    What it wrote it reads: text that is not valid Unicode, a payload class outside the registry
    and an event that is too large are refused with `ConfigError` when they are written.
    """

    def __init__(self, registry: Registry | None = None, cipher: Cipher | None = None) -> None:
        self._registry = registry or Registry()
        self._validators = self._registry.validators
        self._cipher = cipher

    def seal(self, event: Event) -> Sealed:
        """All of the stored form but the previous hash."""
        data, flags = event.data, 0
        turn = _checked(event, known=self._registry.knows(data))
        try:
            payload = orjson.dumps(_body(event), option=orjson.OPT_UTC_Z)
        except (PydanticSerializationError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{data.type} for {event.stream} cannot be stored as JSON: {error}"
            ) from error
        plain = len(payload)
        if plain > COMPRESS_ABOVE and plain <= MAX_PLAIN:
            shorter = _compress(payload)
            if len(shorter) < plain:
                payload, flags = shorter, COMPRESSED
        if self._cipher is not None:
            associated = place(event.stream, event.position, data.type)
            sealed = self._cipher.encrypt(event.stream, payload, associated)
            if sealed is not None:
                payload, flags = sealed, flags | ENCRYPTED
        prefix = _PREFIX.pack(MAGIC, FORMAT, flags, data.version, len(turn))
        result = Sealed(event.stream, event.position, data.type, event.turn, prefix, turn + payload)
        if plain > MAX_PLAIN or result.size > MAX_STORED:
            raise ConfigError(
                f"{data.type} for {event.stream} has {plain} bytes, {result.size} as stored; "
                f"at most {MAX_STORED} can be stored: put long texts into a blob"
            )
        return result

    def encode(self, event: Event, previous: bytes) -> bytes:
        """The stored form of `event` behind the event whose hash is `previous`."""
        return self.seal(event).after(previous)

    def decode(self, stream: str, position: int, type_name: str, form: bytes) -> Event:
        """The event as written, upcast to this release's version of its type.

        Raises `UnknownEvent` for another release's, `Tampered` where the bytes cannot be what was
        written, and `StoreError` where the stream's key is not at hand.
        """
        try:
            flags, version, _, turn, start = _header(form)
            payload = form[start:]
            if flags:
                payload = self._open(stream, position, type_name, flags, payload)
            validate = self._validators.get((type_name, version))
            if validate is None:
                body = self._registry.load(type_name, version, payload)
            else:
                body = validate(payload)
        except UnknownEvent as error:
            raise UnknownEvent(f"{stream} at position {position}: {error}") from error
        except (ValueError, zlib.error) as error:
            what = first_error(error) if isinstance(error, ValueError) else str(error)
            raise Tampered(stream, position, f"not a stored {type_name}: {what}") from error
        return _event(stream, position, turn, body)

    def _open(
        self, stream: str, position: int, type_name: str, flags: int, payload: bytes
    ) -> bytes:
        if flags & ENCRYPTED:
            if self._cipher is None:
                raise StoreError(
                    f"{stream} at position {position} is encrypted, and no keys are configured"
                )
            try:
                payload = self._cipher.decrypt(stream, payload, place(stream, position, type_name))
            except KeyError as error:
                raise StoreError(
                    f"{stream} at position {position} is encrypted, and its key is not at hand "
                    "(lost, or destroyed on purpose)"
                ) from error
        return _decompress(payload) if flags & COMPRESSED else payload


def _checked(event: Event, *, known: bool) -> bytes:
    """Refuse what could not be read again; returns the turn id as the header carries it."""
    if not known:
        raise ConfigError(
            f"{type(event.data).__name__} is not in the registry of events: "
            "add it to events.types.PAYLOADS"
        )
    if event.at.utcoffset():
        raise ConfigError(f"the time of an event is UTC, not {event.at.isoformat()}")
    if event.at.tzinfo is None:
        raise ConfigError("the time of an event needs its time zone: use datetime.now(UTC)")
    try:
        turn = event.turn.encode() if event.turn is not None else b""
    except UnicodeEncodeError as error:
        raise ConfigError(f"the turn id {event.turn!r} is not valid Unicode") from error
    if len(turn) > 255 or (event.turn is not None and (not turn or b"\0" in turn)):
        raise ConfigError(f"a turn id has 1 to 255 bytes and no NUL, not {event.turn!r:.80}")
    return turn


def _event(stream: str, position: int, turn: str | None, body: Body[Any]) -> Event:
    # Half the cost of the frozen class's own `__init__`, which looks up every slot by its name.
    event = _new(Event)
    _set_stream(event, stream)
    _set_position(event, position)
    _set_at(event, body.at)
    _set_by(event, body.by)
    _set_data(event, body.data)
    _set_command(event, body.command)
    _set_turn(event, turn)
    _set_step(event, body.step)
    _set_cause(event, body.cause)
    return event


_new = object.__new__
_set = {one.name: getattr(Event, one.name).__set__ for one in fields(Event)}
_set_stream, _set_position, _set_turn = _set["stream"], _set["position"], _set["turn"]
_set_at, _set_by, _set_data = _set["at"], _set["by"], _set["data"]
_set_command, _set_step, _set_cause = _set["command"], _set["step"], _set["cause"]


def _body(event: Event) -> dict[str, object]:
    """What of the event is neither a column nor in the header; absent where there is none."""
    body: dict[str, object] = {"at": event.at, "by": event.by}
    if event.command is not None:
        body["command"] = event.command
    if event.step is not None:
        body["step"] = event.step
    if event.cause is not None:
        body["cause"] = event.cause
    data = event.data
    body["data"] = orjson.Fragment(data.__pydantic_serializer__.to_json(data))
    return body


def _compress(payload: bytes) -> bytes:
    # Setting up zlib's default window costs several times what compressing 2 kB does.
    stream = zlib.compressobj(2, zlib.DEFLATED, wbits=14, memLevel=6)
    return stream.compress(payload) + stream.flush()


def _decompress(payload: bytes) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(payload, MAX_PLAIN + 1)
    if len(plain) > MAX_PLAIN or not stream.eof or stream.unused_data:
        raise ValueError("the compressed payload does not end where it should")
    return plain
