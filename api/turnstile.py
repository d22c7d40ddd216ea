"""Lets the calls of a run through one after the other, in the order in which they were made.

The order of the log is the order of the calls: a replay finds identical calls that run at the same
time by it. So none may overtake another while its texts are stored. A call that says which of the
run's it is (`HEADER`, counted from 1) waits for those before it, whatever connection they came by;
others go in the order of their arrival.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

PATIENCE = 5.0
"""Seconds that a call waits for an earlier number, which may have been lost on its way."""


class Turnstile:
    """The calls of one run that are on their way into the log."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._waiting: list[Ticket] = []
        self._expected = 1
        self._moved = asyncio.Event()

    def ticket(self, number: int | None = None) -> Ticket:
        """A place behind all calls so far, or, with a number, behind all that have a lower one."""
        ticket = Ticket(self, number)
        self._waiting.append(ticket)
        return ticket

    async def turn_of(self, ticket: Ticket) -> None:
        """Returns when it is that call's turn, or its predecessor is waited for no longer."""
        try:
            async with asyncio.timeout(self._patience if ticket.number is not None else None):
                while not self._is_next(ticket):
                    moved = self._moved
                    await moved.wait()
        except TimeoutError:
            return

    def leave(self, ticket: Ticket) -> None:
        """The call is in the log, or will never be."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            if ticket.number is not None:
                self._expected = max(self._expected, ticket.number + 1)
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def _is_next(self, ticket: Ticket) -> bool:
        if ticket.number is None:
            unnumbered = (each for each in self._waiting if each.number is None)
            return next(unnumbered) is ticket
        return ticket.number <= self._expected


class Ticket:
    """A call's place. As a context, it is left at the end, whatever came of the call."""

    def __init__(self, turnstile: Turnstile, number: int | None) -> None:
        self.number = number
        self._turnstile = turnstile

    async def turn(self) -> None:
        """Returns when it is this call's turn."""
        await self._turnstile.turn_of(self)

    def leave(self) -> None:
        """Let the next call through."""
        self._turnstile.leave(self)

    def __enter__(self) -> Ticket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


def numbered(header: str | None) -> int | None:
    """The number that a call says it has; None where it says none."""
    known = header is not None and header.isascii() and header.isdecimal() and len(header) < 10
    return int(header) if known and header else None
