"""The hash chain over stored bytes: every event names the hash of the one before it.

An event's hash covers its stream, position and type and the whole stored form, in which the
previous hash stands: changing, moving or removing one event breaks the link behind it, without any
key or any knowledge of what the event says.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct

GENESIS = bytes(32)
"""The previous hash of a stream's first event."""

_LENGTH = Struct(">I")
_POSITION_AND_LENGTH = Struct(">QI")


def place(stream: str, position: int, type_name: str) -> bytes:
    """Where an event stands, unambiguous because every variable part carries its length."""
    name, kind = stream.encode(), type_name.encode()
    return b"".join(
        (_LENGTH.pack(len(name)), name, _POSITION_AND_LENGTH.pack(position, len(kind)), kind)
    )


def event_hash(stream: str, position: int, type_name: str, form: bytes) -> bytes:
    """SHA-256 (32 bytes) over the event's place and its stored form."""
    return sha256(place(stream, position, type_name) + form).digest()
