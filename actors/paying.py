"""Asks the owners of accounts to hold and to settle, until they answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from actors import subjects
from actors.bus import Bus, Unreachable
from actors.messages import Accounted, Reserve, Settle

_log = logging.getLogger(__name__)

ANSWER_WITHIN = 5.0
"""Seconds for an owner to answer before it is asked again."""
PAUSE, LAST_PAUSE = 0.2, 5.0
"""Seconds between two requests that nobody took; doubled."""


Then = Callable[[Accounted], Awaitable[None]]
"""What is done with the answer of an owner."""


async def _nothing(answer: Accounted) -> None:
    return


class Paying:
    """The requests to accounts of one router.

    None is given up while this runs. What a router that ends has not settled, the accounts find in
    the sessions' logs when they are started; what it has not reserved, its session asks for again.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Ask no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reserve(self, request: Reserve, then: Then) -> None:
        """Have the amount held; `then` is given the decision."""
        self._start(request, then)

    def settle(self, request: Settle) -> None:
        """Say what the attempt has cost."""
        self._start(request, _nothing)

    def _start(self, request: Reserve | Settle, then: Then) -> None:
        task = asyncio.create_task(self._asked(request, then), name=f"account {request.account}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _asked(self, request: Reserve | Settle, then: Then) -> None:
        subject = subjects.account(subjects.partition(request.account))
        pause = PAUSE
        while True:
            try:
                reply = await self._bus.request(subject, request, ANSWER_WITHIN)
                answer = Accounted.model_validate_json(reply)
            except Unreachable as error:
                _log.info("account %s: %s", request.account, error)
            except ValidationError:
                _log.error("account %s: its owner's answer cannot be read", request.account)
            else:
                await then(answer)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE)
