"""The lock that refuses a second room in the same data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import ConfigError


@contextmanager
def only_room(path: Path) -> Iterator[None]:
    """Hold the lock of a data directory; a `ConfigError` names the process that holds it already.

    The kernel gives it back when this process ends, however it ends.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be used as data directory: {error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            raise ConfigError(
                f"a room runs in {path.parent} already (process {holder}): use that one, stop it, "
                "or set CONTROL_ROOM_HOME to another directory"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
