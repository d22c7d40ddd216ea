"""Finds the processes that tests started and left behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

# Inherited by every process that a test starts, so that one whose parent has died is found too.
_TAG = "TEST_RUN_ID"
# Python's own, ended with the interpreter.
_EXPECTED = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass(frozen=True)
class Leftover:
    """A process that outlived its test."""

    pid: int
    command: str
    test: str


def tag_this_run() -> None:
    """Marks the environment, before any test starts a process."""
    os.environ[_TAG] = uuid.uuid4().hex


def end_leftovers(*, grace: float) -> tuple[Leftover, ...]:
    """Ends by force what still runs after `grace` seconds, and tells what that was."""
    _, alive = psutil.wait_procs(list(_processes()), timeout=grace)
    left = []
    for process in alive:
        try:
            left.append(_describe(process))
            process.kill()
        except psutil.NoSuchProcess:
            continue  # it ended after all, or its parent's end took it along
    return tuple(left)


def _processes() -> Iterator[psutil.Process]:
    ours = psutil.Process()
    children = {child.pid for child in ours.children(recursive=True)}
    for process in psutil.process_iter():
        if process.pid != ours.pid and (process.pid in children or _has_tag(process)):
            try:
                command = " ".join(process.cmdline())
                zombie = process.status() == psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if not zombie and not any(name in command for name in _EXPECTED):
                yield process


def _has_tag(process: psutil.Process) -> bool:
    try:
        return process.environ().get(_TAG) == os.environ[_TAG]
    except (psutil.Error, OSError):
        return False  # another user's


def _describe(process: psutil.Process) -> Leftover:
    with process.oneshot():
        command = " ".join(process.cmdline()) or process.name()
    try:
        test = process.environ().get("PYTEST_CURRENT_TEST", "unknown")
    except (psutil.AccessDenied, OSError):
        test = "unknown"
    return Leftover(process.pid, command, test)
