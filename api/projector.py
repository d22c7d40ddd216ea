"""The process that follows the log and keeps the projections."""

from __future__ import annotations

import asyncio
import signal

import uvloop

from api.process import in_one_line, prepare
from api.settings import Settings, load_settings
from api.wiring import projection_runner


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
    with in_one_line():
        uvloop.run(project(_settings))
