"""The tools of the room: ask it, list its sessions, replay one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from api import __version__
from api.doors import Doors
from api.openai_door.backend import Completion
from api.openai_door.bringing import Brought
from api.openai_door.faults import DoorError
from api.openai_door.rooms import Happened, Rooms, Turn
from api.problems import ProblemError
from api.projected import all_caught_up
from api.routes.turns import MAX_MESSAGE
from events.chat import WireMessage
from events.errors import ControlRoomError
from events.values import Id, Parameters
from projections.replay import replay

INSTRUCTIONS = (
    "A control room for several language models at once. 'ask_room' puts a question to a session,"
    " which remembers what was said in it, or to a saved room, which answers afresh;"
    " 'list_sessions' names both."
)
_OUTCOMES = ("model.answered", "model.failed", "model.cancelled")


class ParticipantAnswer(BaseModel):
    """What one of the participants said."""

    participant: str
    label: str
    model: str
    text: str


class RoomAnswer(BaseModel):
    """The answer of a room, and where all that led to it can be read."""

    answer: str
    answers: list[ParticipantAnswer]
    session: str
    turn: str


class SessionRow(BaseModel):
    """A session in short."""

    session: str
    title: str | None
    status: str
    pattern: str
    participants: list[str]
    turns: int
    last_message: str | None


class RoomList(BaseModel):
    """What can be asked."""

    sessions: list[SessionRow]
    presets: list[str]


class Replayed(BaseModel):
    """Whether a session is what follows from its log; else `divergence` says where it is not."""

    identical: bool
    events: int
    head: str
    divergence: dict[str, Any] | None


def room_server(doors: Doors) -> MCPServer[Any]:
    """The server whose tools are the room's."""
    tools = RoomTools(doors)
    server: MCPServer[Any] = MCPServer(
        "control-room", title="Control Room", instructions=INSTRUCTIONS, version=__version__
    )
    reading = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    server.add_tool(tools.ask_room, title="Ask the room")
    server.add_tool(tools.list_sessions, title="List sessions", annotations=reading)
    server.add_tool(tools.replay, title="Replay a session", annotations=reading)
    return server


class RoomTools:
    """What is offered; the descriptions are for models."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def ask_room(
        self,
        ctx: Context[Any, Any],
        message: Annotated[str, Field(min_length=1, description="what the room is asked")],
        session: Annotated[
            Id | None, Field(description="id of a session, which is posted the message")
        ] = None,
        preset: Annotated[
            Id | None, Field(description="name of a saved room, which answers afresh")
        ] = None,
    ) -> RoomAnswer:
        """Ask several language models at once and wait for their answer.

        Give either a session or a preset: see list_sessions.
        """
        if (session is None) == (preset is None):
            raise ToolError("give either 'session' or 'preset': 'list_sessions' names both")
        if len(message.encode()) > MAX_MESSAGE:
            raise ToolError(f"the message may have {MAX_MESSAGE} bytes: shorten it")
        model = f"room/{preset}" if session is None else f"session/{session}"
        said = WireMessage(role="user", content=message)
        async with _explained():
            rooms = Rooms(_for(self._doors, ctx))
            asking = Brought(model, (said,), Parameters())
            async with rooms.answering(asking, None, pieces=False) as answering:
                completion = await _watched(answering, ctx)
        return RoomAnswer(
            answer=completion.text,
            answers=[
                ParticipantAnswer(
                    participant=one["participant"],
                    label=one["label"],
                    model=f"{one['provider']}/{one['model']}",
                    text=one["text"],
                )
                for one in completion.answers
            ],
            session=completion.place["session"],
            turn=completion.place["turn"],
        )

    async def list_sessions(
        self,
        limit: Annotated[int, Field(ge=1, le=200, description="most sessions listed")] = 20,
        tag: Annotated[str | None, Field(description="only sessions that have it")] = None,
    ) -> RoomList:
        """List the latest sessions, with who takes part, and the names of saved rooms."""
        reader = self._doors.room.projections
        async with _explained():
            await all_caught_up(self._doors)
            page = await asyncio.to_thread(reader.sessions, limit, None, tag)
            presets = await asyncio.to_thread(reader.presets, "room")
        rows = [
            SessionRow(
                session=one.id,
                title=one.title,
                status=one.status,
                pattern=one.pattern,
                participants=[seat.label for seat in one.participants],
                turns=one.turns,
                last_message=one.preview,
            )
            for one in page.sessions
        ]
        return RoomList(sessions=rows, presets=[one.name for one in presets.presets])

    async def replay(
        self, session: Annotated[Id, Field(description="id of the session")]
    ) -> Replayed:
        """Run every turn of a session again from its log alone, and compare every event with it.

        No model is asked, and nothing is written.
        """
        async with _explained():
            await self._doors.states.get(session)
            done = await replay(self._doors.room.store, self._doors.room.blobs, session)
        return Replayed(
            identical=done.identical,
            events=done.events,
            head=done.head,
            divergence=None if done.divergence is None else done.divergence.model_dump(mode="json"),
        )


def _for(doors: Doors, ctx: Context[Any, Any]) -> Doors:
    """The doors for the principal that the guard has let through."""
    request = ctx.request_context.request
    assert request is not None
    return doors.of_request(request.scope)


@asynccontextmanager
async def _explained() -> AsyncIterator[None]:
    """What goes wrong is told to the model, which may know what to do."""
    try:
        yield
    except (DoorError, ControlRoomError) as error:
        raise ToolError(error.message) from None
    except ProblemError as problem:
        raise ToolError(problem.detail) from None


async def _watched(answering: Turn, ctx: Context[Any, Any]) -> Completion:
    """Wait for the answer and say how far it is; the turn is called off where nobody waits."""
    asked, done = 0, 0
    try:
        async for happened in answering.happenings():
            if isinstance(happened, Completion):
                return happened
            asked, done = asked + (happened.type == "model.asked"), done + _over(happened)
            if happened.type == "model.asked" or _over(happened):
                what = happened.type.removeprefix("model.")
                await ctx.report_progress(done, asked, f"{happened.about}: {what}")
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await answering.cancel()
        raise
    raise AssertionError("unreachable")


def _over(happened: Happened) -> bool:
    return happened.type in _OUTCOMES
