"""Waiting for something that announces itself to nobody."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05  # seconds between two probes


@overload
async def eventually(probe: Callable[[], Awaitable[T]], *, within: float, what: str) -> T: ...


@overload
async def eventually(probe: Callable[[], T], *, within: float, what: str) -> T: ...


async def eventually(probe: Callable[[], Any], *, within: float, what: str) -> Any:
    """Calls `probe`, plain or async, until its result is true, and returns that result.

    An `AssertionError` of the probe means "not yet"; any other error is raised at once. After
    `within` seconds raises `AssertionError` with `what` and what the last probe gave. Where the
    code under test offers an event, a position or a reply, await that instead.
    """
    last: object = "the first probe did not return"
    pause = _FIRST_PAUSE
    limit = asyncio.timeout(within)
    try:
        async with limit:
            while True:
                try:
                    result = probe()
                    value = await result if inspect.isawaitable(result) else result
                except AssertionError as error:
                    last = error
                else:
                    if value:
                        return value
                    last = value
                await _pass(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
    except TimeoutError as error:
        if not limit.expired():
            raise  # the probe's own
        raise AssertionError(f"{what}: not within {within:g} s (last: {last!r})") from error


async def _pass(seconds: float) -> None:
    over = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
