"""One writer process a SQLite file: several stall and starve each other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from events.errors import StoreError


class WriterLock:
    """An exclusive lock on `path`, held until `release` or the end of the process.

    Raises `StoreError` naming the holder where another writer has it. The file stays behind: its
    content is only for people, the lock is the kernel's and ends with the process, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read(32).strip() or "unknown"
            self._file.close()
            raise StoreError(
                f"another writer (process {holder}) has {path.name.removesuffix('.lock')} open: "
                "one process writes a SQLite store; stop that one, or open this read-only"
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let the next writer in; may be called again."""
        self._file.close()
