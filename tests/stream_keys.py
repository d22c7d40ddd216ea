"""Keys of streams, for the tests of encrypted events."""

from __future__ import annotations

import hmac
import os
from hashlib import shake_256

_NONCE, _TAG = 16, 32


class Keys:
    """A key for each stream that has one.

    Keystream from SHAKE-256, authenticated by HMAC: enough for tests, and nothing to install.
    """

    def __init__(self, *streams: str) -> None:
        self.keys: dict[str, bytes | None] = {stream: os.urandom(32) for stream in streams}

    def encrypt(self, stream: str, plain: bytes, associated: bytes) -> bytes | None:
        key = self.keys.get(stream)
        if key is None:
            return None
        nonce = os.urandom(_NONCE)
        hidden = _masked(key, nonce, plain)
        return nonce + hidden + _tag(key, nonce + hidden, associated)

    def decrypt(self, stream: str, sealed: bytes, associated: bytes) -> bytes:
        key = self.keys[stream]
        if key is None:
            raise KeyError(stream)
        sealed, tag = sealed[:-_TAG], sealed[-_TAG:]
        if not hmac.compare_digest(tag, _tag(key, sealed, associated)):
            raise ValueError("the key does not fit")
        return _masked(key, sealed[:_NONCE], sealed[_NONCE:])


def _masked(key: bytes, nonce: bytes, content: bytes) -> bytes:
    mask = shake_256(key + nonce).digest(len(content))
    return bytes(a ^ b for a, b in zip(content, mask, strict=True))


def _tag(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    covered = len(associated).to_bytes(8) + associated + sealed
    return hmac.digest(key, covered, "sha256")
