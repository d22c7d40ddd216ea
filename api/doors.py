"""What all routes share: the room, and this process's ways to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.types import Scope

from api.all_events import AllEvents
from api.callers import Callers
from api.commands import Commands
from api.following import Feeds
from api.model_names import ModelNames
from api.projected import Advances
from api.room import Room
from api.run_calls import LiveCalls, RunDoors
from api.settings import LOCAL
from api.states import SessionStates


@dataclass(frozen=True, slots=True)
class Doors:
    """The room, commands to it, and what is read of it; `principal` is whoever asks for it."""

    room: Room
    commands: Commands
    feeds: Feeds
    states: SessionStates
    all_events: AllEvents
    advances: Advances
    runs: RunDoors
    principal: str = LOCAL
    callers: Callers = field(default_factory=Callers)
    model_names: ModelNames = field(default_factory=ModelNames)

    @classmethod
    def of(cls, room: Room, patience: float) -> Doors:
        """The doors of `room`; `patience` is that of its commands."""
        commands = Commands(room.bus, patience=patience)
        feeds, states = Feeds(room.bus, room.store), SessionStates(room.store)
        return cls(
            room,
            commands,
            feeds,
            states,
            AllEvents(room.bus, room.store),
            Advances(room.bus),
            RunDoors(LiveCalls(room, commands, feeds, states)),
        )

    def of_request(self, scope: Scope) -> Doors:
        """The same for the principal that the guard has let through."""
        return replace(self, principal=scope["state"]["principal"])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep pieces of answers for those who come back; on the way out, stop following."""
        await self.feeds.start()
        await self.advances.start()
        try:
            yield
        finally:
            await self.feeds.close()
            await self.all_events.close()


async def _doors(connection: HTTPConnection) -> Doors:
    return cast(Doors, connection.app.state.doors).of_request(connection.scope)


Inside = Annotated[Doors, Depends(_doors)]
"""The doors, as a parameter of a route."""
