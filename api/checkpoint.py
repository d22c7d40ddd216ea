"""A SQLite file at rest holds everything: what its write-ahead log has is brought into it."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

_log = logging.getLogger(__name__)


def checkpoint(path: Path) -> None:
    """Bring the write-ahead log into the file at `path`, which nobody uses any more.

    Processes that were killed leave it beside; nothing is lost then, but a copy of the file alone
    lacks it. Where that cannot be done, it stays as it is and is logged.
    """
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=1)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        _log.warning("the write-ahead log of %s stays beside it: %s", path, error)
