"""The key that signs the tokens of runs: made once for a data directory, and kept there."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from events.errors import ConfigError

NAME = "run.key"
SIZE = 32


def run_key(home: Path) -> bytes:
    """The key of the room in this data directory; processes that ask at once get the same one."""
    path = home / NAME
    with suppress(FileNotFoundError):
        return _read(path)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = home / f"{NAME}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(made, path)  # whoever was first is right
    finally:
        made.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != SIZE:
        raise ConfigError(f"{path} is not a key: remove it, and the next start makes another")
    return key
