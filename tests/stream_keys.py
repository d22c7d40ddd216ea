"""Keys of streams, for the tests of encrypted events."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Keys:
    """AES-GCM with a key for each stream that has one."""

    def __init__(self, *streams: str) -> None:
        self.keys: dict[str, AESGCM | None] = {
            stream: AESGCM(AESGCM.generate_key(128)) for stream in streams
        }

    def encrypt(self, stream: str, plain: bytes, associated: bytes) -> bytes | None:
        key = self.keys.get(stream)
        if key is None:
            return None
        nonce = os.urandom(12)
        return nonce + key.encrypt(nonce, plain, associated)

    def decrypt(self, stream: str, sealed: bytes, associated: bytes) -> bytes:
        key = self.keys[stream]
        if key is None:
            raise KeyError(stream)
        try:
            return key.decrypt(sealed[:12], sealed[12:], associated)
        except InvalidTag as error:
            raise ValueError("the key does not fit") from error
