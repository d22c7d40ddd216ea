"""The provider of the benchmarks as a process on a core of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from benchmarks.machine import cores, on_core

START_WITHIN = 20.0
"""Seconds."""


class ProviderProcess:
    """A running provider; `url` is the base URL that OpenAI clients want."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    async def seen(self) -> dict[str, Any]:
        """What it saw since the last time that it was asked."""
        root = self.url.removesuffix("/v1")
        async with aiohttp.ClientSession() as client, client.get(f"{root}/seen") as answer:
            seen: dict[str, Any] = await answer.json()
            return seen


@asynccontextmanager
async def running_provider() -> AsyncIterator[ProviderProcess]:
    """A provider on the core of what is outside; it ends when this is left, or with us."""
    with on_core(cores()[0]):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.provider_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_WITHIN)
        yield ProviderProcess(line.decode().strip(), process.pid)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
