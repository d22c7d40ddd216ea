"""Ties a child process to its parent: it is signalled when the parent dies, by `kill -9` too.

`tied(command)` is a command line that does this and then becomes `command`, keeping its process
id. It runs this file as a script, so the child needs neither `preexec_fn`, which is not safe in a
process with threads, nor any package.

The kernel (Linux, `PR_SET_PDEATHSIG`) watches the *thread* that started the child. Start children
from a thread that lives as long as they shall: with asyncio that is the thread of the event loop.
Elsewhere than on Linux the command runs untied.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def tied(command: Sequence[str], *, send: int = signal.SIGKILL) -> tuple[str, ...]:
    """The command line of a child of this process that gets signal `send` when we die."""
    # Isolated and without site-packages: it starts in milliseconds and imports nothing of ours.
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(send)), *command)


def end_with_parent(parent: int, *, send: int = signal.SIGKILL) -> None:
    """Has this process signalled when `parent` dies; ends it at once if that has happened already.

    Survives `exec`, but not a change of user, and is not inherited by children.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, send, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the kernel knew that we care
        os.kill(os.getpid(), send)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), send=int(sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
