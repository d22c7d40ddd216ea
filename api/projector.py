"""The process that follows the log and keeps the projections."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

import uvloop

from api.process import in_one_line, prepare
from api.settings import Settings, load_settings
from api.wiring import projection_runner


def yield_to_turns() -> None:
    """Take no less of the processor, but never take it away from who is at work on a turn."""
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):  # a sandbox may not allow it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def project(settings: Settings) -> None:
    """Run until SIGTERM."""
    ended = asyncio.Event()
    async with projection_runner(settings) as runner:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        work = asyncio.create_task(runner.run())
        until = asyncio.create_task(ended.wait())
        await asyncio.wait({work, until}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


if __name__ == "__main__":
    _settings = load_settings()
    prepare(_settings.log_level)
    yield_to_turns()
    with in_one_line():
        uvloop.run(project(_settings))
