"""Answers of routers that do not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel

from actors.bus import Bus, Unreachable
from actors.messages import Command
from tests.rooms import LocalRoom


class LossyBus(Bus):
    """The room's connection to NATS, which loses so many answers to one kind of command.

    What was asked for is done all the same. Such commands are in `seen`, and `answered` is set when
    one is answered; where `held` is given, the answers arrive when that is set.
    """

    def __init__(
        self, bus: Bus, kind: type[Command], losing: int, held: asyncio.Event | None
    ) -> None:
        self._bus, self._kind, self._held = bus, kind, held
        self.losing = losing
        self.seen: list[Any] = []
        self.answered = asyncio.Event()

    async def request(
        self, subject: str, payload: bytes | BaseModel, timeout: float = 5.0
    ) -> bytes:
        answer = await self._bus.request(subject, payload, timeout)
        if isinstance(payload, self._kind):
            self.seen.append(payload)
            self.answered.set()
            if self._held is not None:
                await self._held.wait()
            if self.losing:
                self.losing -= 1
                raise Unreachable("the answer is lost")
        return answer


@contextmanager
def lost_answers(
    room: LocalRoom, kind: type[Command], losing: int = 0, held: asyncio.Event | None = None
) -> Iterator[LossyBus]:
    """Let the API of `room` lose the next answers to its commands of that kind."""
    commands = room.served.doors.commands
    whole = commands._bus
    commands._bus = lossy = LossyBus(whole, kind, losing, held)
    try:
        yield lossy
    finally:
        commands._bus = whole
