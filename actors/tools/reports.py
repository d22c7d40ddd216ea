"""What the tool servers that run say of themselves, to whoever asks all their actors at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import ValidationError

from actors import subjects
from actors.addresses import ToolAddress
from actors.bus import Bus, Msg, Unreachable
from actors.messages import Ensure, Reply
from actors.tools.listing import TOOLS, WHO, Listing

_log = logging.getLogger(__name__)

QUIET: Final = 0.3
"""Seconds in which an actor that runs says how it is."""


async def collect(
    bus: Bus, servers: Iterable[str], *, start_within: float = 0
) -> Mapping[str, Listing]:
    """What the actors of these servers say now; one that says nothing is left out.

    With `start_within` seconds those that do not run are started, and those that are not up yet
    waited for. Of replicas, one that is up speaks for all. `problem` tells why one does not start.
    """
    wanted = set(servers)
    said: dict[str, Listing] = {}
    news = asyncio.Event()

    def take(msg: Msg) -> None:
        try:
            listing = Listing.model_validate_json(msg.data)
        except ValidationError:
            _log.warning("what a tool server says of itself cannot be read")
            return
        before = said.get(listing.server)
        if listing.server in wanted and not (before and before.up and not listing.up):
            said[listing.server] = listing
            news.set()

    def settled() -> bool:
        return all(name in said and (said[name].up or said[name].problem) for name in wanted)

    async def until(done: float) -> None:
        try:
            async with asyncio.timeout(done):
                while not settled():
                    await news.wait()
                    news.clear()
        except TimeoutError:
            _log.debug("some tool servers say nothing yet")

    subscription = await bus.subscribe(TOOLS, take)
    try:
        await bus.publish(WHO, b"{}")
        await until(QUIET)
        if start_within and not settled():
            starts = [
                asyncio.create_task(_started(bus, name, start_within))
                for name in wanted - said.keys()
            ]
            await until(start_within)
            for start in starts:
                start.cancel()
            for told in await asyncio.gather(*starts, return_exceptions=True):
                if isinstance(told, Listing):
                    said.setdefault(told.server, told)
    finally:
        await subscription.unsubscribe()
    return said


async def _started(bus: Bus, server: str, within: float) -> Listing | None:
    """None where the supervisor has the server's actor running, else why not."""
    wanted = Ensure(actor=ToolAddress(server))
    try:
        answer = await bus.request(subjects.SUPERVISOR, wanted, timeout=within)
    except Unreachable:
        return None
    problem = Reply.model_validate_json(answer).problem
    return None if problem is None else Listing(server=server, up=False, problem=problem.message)
