"""Ends what a room that died has left: processes that carry its mark, by process id.

Every process of a room has `CTLROOM_INSTANCE=<home>-<run>` in its environment, and what one child
of the room has started has its name in `CTLROOM_PART`. Ray's own processes are children of children
and would outlive a `kill -9` of the room; a watchdog, which is this file run as a script, waits for
the room's end and then ends all that carry the mark. It needs no package, and a session of its own
lets it survive a kill of the room's process group.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

MARK = "CTLROOM_INSTANCE"
PART = "CTLROOM_PART"
_LOOKS = 200
_PAUSE = 0.05  # seconds between two looks


def marked(mark: str, part: str = "") -> list[int]:
    """Ids of the processes whose mark begins with `mark`, without this one and ended ones.

    With `part` only those that are, or come from, the room's child of that name.
    """
    wanted = f"{MARK}={mark}".encode()
    named = f"{PART}={part}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid == os.getpid():
                continue
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended, or is another user's
        if any(variable.startswith(wanted) for variable in variables):
            if part and named not in variables:
                continue
            found.append(pid)
    return found


def end_marked(mark: str, part: str = "") -> int:
    """Kill all that `marked` finds, and what they start meanwhile; returns how many."""
    ended: set[int] = set()
    for _ in range(_LOOKS):
        left = marked(mark, part)
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            ended.add(pid)
        time.sleep(_PAUSE)
    return len(ended)


def watchdog(mark: str) -> tuple[str, ...]:
    """The command line of a watchdog, which waits for the end of its standard input."""
    return (sys.executable, "-I", "-S", __file__, mark)


if __name__ == "__main__":
    for _ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])
