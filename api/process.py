"""How every process of the room is set up."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import ControlRoomError

_log = logging.getLogger(__name__)


def prepare(log_level: str, log: Path | None = None) -> None:
    """Log a line an entry at `log_level` and above, to `log` or else to standard error.

    Libraries only warn.

    What the process writes is for its user alone: conversations, and the keys of providers.

    The garbage collector looks less often than by default: a process that keeps many events spends
    half of the time of reading them there otherwise, and they hold no cycles.
    """
    os.umask(0o077)
    handler = logging.FileHandler(log) if log else logging.StreamHandler(sys.stderr)
    logging.basicConfig(
        handlers=[handler],
        level=logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    for floor in ("api", "projections", "actors", "events"):
        logging.getLogger(floor).setLevel(log_level.upper())
    gc.set_threshold(50_000, 20, 100)


@contextmanager
def in_one_line() -> Iterator[None]:
    """What was raised on purpose ends the process with one line in its log, and code 1."""
    try:
        yield
    except ControlRoomError as error:
        _log.critical("%s", error)
        sys.exit(1)
