"""Processes that a room keeps running, and what it does about those that they leave behind."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.bus import Bus
from api.children import Child
from api.nats_server import BundledNats
from api.reaper import MARK, PART, end_marked, marked
from api.running import noted
from api.serve import keep_nats
from tests.waiting import eventually

WAITS = "import threading; threading.Event().wait()"
LEAVES_ONE_BEHIND = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {WAITS!r}], start_new_session=True)
print("working", flush=True)
{WAITS}
"""
FAILS = "import sys; print('it cannot be done'); sys.exit(3)"


def child(
    folder: Path, program: str, mark: str, sweep: Callable[[], object] | None = None
) -> Child:
    return Child(
        "worker",
        [sys.executable, "-c", program],
        {**os.environ, MARK: mark, PART: "worker"},
        log=folder / "worker.log",
        run=folder / "run",
        sweep=sweep,
    )


async def works(folder: Path, times: int) -> None:
    log = folder / "worker.log"
    await eventually(
        lambda: log.exists() and log.read_text().count("working") == times,
        within=30,
        what=f"start {times} of the worker",
    )


async def test_what_a_killed_child_has_left_is_ended_before_it_is_started_again(
    tmp_path: Path,
) -> None:
    mark = f"test-{secrets.token_hex(8)}"
    left: list[int] = []

    def sweep() -> None:
        left.extend(marked(mark, "worker"))
        end_marked(mark, "worker")

    worker = child(tmp_path, LEAVES_ONE_BEHIND, mark, sweep)
    await worker.start()
    try:
        await works(tmp_path, 1)
        first = worker.pid
        assert first is not None
        assert len(marked(mark)) == 2
        assert marked(mark, "another") == []
        (orphan,) = set(marked(mark, "worker")) - {first}
        os.kill(first, signal.SIGKILL)
        await works(tmp_path, 2)
        assert left == [orphan]
        assert orphan not in marked(mark)
        assert worker.pid not in (None, first)
        assert noted(tmp_path / "run")["worker"]["pid"] == worker.pid
    finally:
        await worker.stop(5)
        end_marked(mark)
    assert marked(mark) == []


async def test_a_child_that_fails_is_tried_again_and_its_last_line_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    worker = child(tmp_path, FAILS, f"test-{secrets.token_hex(8)}")
    await worker.start()
    try:
        await eventually(lambda: len(caplog.messages) >= 2, within=30, what="two failures")
    finally:
        await worker.stop(5)
    log = tmp_path / "worker.log"
    assert set(caplog.messages) == {
        f"worker ended with code 3; starting it again; last in {log}: it cannot be done"
    }


async def test_a_child_that_cannot_be_started_for_a_while_is_started_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    worker = child(folder, LEAVES_ONE_BEHIND, mark := f"test-{secrets.token_hex(8)}")
    await worker.start()
    try:
        await works(folder, 1)
        assert worker.pid is not None
        shutil.rmtree(folder)
        os.kill(worker.pid, signal.SIGKILL)
        await eventually(
            lambda: any("does not start" in each for each in caplog.messages),
            within=30,
            what="a failed start",
        )
        folder.mkdir()
        await works(folder, 1)
    finally:
        await worker.stop(5)
        end_marked(mark)


async def test_a_nats_server_that_cannot_start_for_a_while_is_started_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = BundledNats(tmp_path / "nats")
    await server.start()
    keeper = asyncio.create_task(keep_nats(server, tmp_path / "run"))
    bus = await Bus.connect(server.url)
    try:
        first = server.pid
        assert first is not None
        ports = tmp_path / "nats" / "ports"
        shutil.rmtree(ports)
        ports.write_text("in the way")
        os.kill(first, signal.SIGKILL)
        await eventually(
            lambda: any("nats-server does not start" in each for each in caplog.messages),
            within=30,
            what="a failed start",
        )
        ports.unlink()
        await eventually(lambda: noted(tmp_path / "run"), within=30, what="a server again")
        assert noted(tmp_path / "run")["nats"]["pid"] == server.pid != first
        assert await bus.wait_connected(20)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await bus.close()
        await server.stop()
