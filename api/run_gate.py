"""Holds the outcomes of a repeated run back until everything has happened that was before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from projections.rerun import RecordedCall, RunDiverged, Schedule

PATIENCE = 30.0
"""Seconds that an outcome waits for what the log has before it."""


class Gate:
    """The schedule of one repeated run, and those who wait for their turn in it."""

    def __init__(self, schedule: Schedule, patience: float = PATIENCE) -> None:
        self.schedule = schedule
        self._patience = patience
        self._happened = asyncio.Event()
        self._left: list[RecordedCall] = []
        self.exhausted = asyncio.Event()
        """Set when everything has happened that the log has."""

    def call(self, digest: str, what: str) -> RecordedCall:
        """The recorded call that this one is; raises `RunDiverged` where there is none."""
        call = self.schedule.call(digest, what)
        self._wake()
        return call

    def made(self, step: str) -> RecordedCall | None:
        """The recorded call of that step, which was made again; None where there is none."""
        call = self.schedule.made(step)
        self._wake()
        return call

    async def turn_of(self, call: RecordedCall) -> Callable[[], None]:
        """Wait until the outcome is due; what is returned is called when it has been passed on.

        A call that the run's end cut off has no outcome, and waits for that end too. Raises
        `RunDiverged` where what was before it does not happen.
        """
        try:
            async with asyncio.timeout(None if call.outcome is None else self._patience):
                while not self.schedule.due(call):
                    self._happened.clear()
                    await self._happened.wait()
        except asyncio.CancelledError:
            # Whoever called waits no longer; what comes behind this outcome is not to wait for it.
            self._left.append(call)
            self._wake()
            raise
        except TimeoutError:
            raise RunDiverged(
                f"{call.what}, whose outcome came after this in the log, which does not happen:"
                f" {self.schedule.first()}"
            ) from None

        def passed_on() -> None:
            self.schedule.release(call)
            self._wake()

        return passed_on

    def _wake(self) -> None:
        while due := next((one for one in self._left if self.schedule.due(one)), None):
            self._left.remove(due)
            self.schedule.release(due)
        if self.schedule.exhausted:
            self.exhausted.set()
        self._happened.set()
