"""What went wrong in a router, in words that are the same in every process."""

from __future__ import annotations

import re

from events.errors import ControlRoomError

LONGEST = 4000
"""Characters of a message at most."""

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")


def describe(error: BaseException) -> str:
    """The error's message, for an event: derived events must not differ between two processes.

    Memory addresses are left out, and text that is not valid Unicode is replaced.
    """
    try:
        said = str(error)
    except Exception:
        said = "(its message could not be read)"
    if isinstance(error, RecursionError):
        said = "it recursed too deeply"  # how deep, and in what, depends on who called
    if not isinstance(error, ControlRoomError):
        said = f"{type(error).__name__}: {said}"
    said = _ADDRESS.sub("0x...", said)[:LONGEST]
    return said.encode("utf-8", "replace").decode()
