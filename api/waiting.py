"""Posting, and waiting for the end of what was posted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request

from actors.messages import Accepted, PostTurn, RetryTurn
from api.doors import Doors
from api.following import Follower
from api.shown import Committed
from api.views import TurnAccepted
from events.envelope import Event
from events.types import TURN_ENDS
from projections.answers import TurnView, turn_view

_ENDS = frozenset(kind.type for kind in TURN_ENDS)


async def post(
    doors: Doors, request: Request, command: PostTurn | RetryTurn, wait: float | None
) -> TurnAccepted | TurnView:
    """Have `command` carried out and wait up to so many seconds for the end of its turn.

    Stops waiting where the client of `request` is gone.
    """
    if not wait:
        return accepted(await doors.commands.send(command))
    async with doors.feeds.follow(command.session, None) as follower:
        after = follower.sent
        config = (await doors.states.get(command.session)).config
        committed = await doors.commands.send(command)
        assert committed.turn
        if committed.repeated and (view := await ended_view(doors, committed)) is not None:
            return view
        ending = asyncio.create_task(_end_of(follower, committed.turn))
        leaving = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({ending, leaving}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                if committed.repeated:
                    events: Sequence[Event] = await doors.states.turn_events(
                        command.session, committed.turn
                    )
                else:
                    many = ending.result() - after
                    events = await doors.room.store.read(command.session, after, many)
                return await asyncio.to_thread(
                    turn_view, events, committed.turn, doors.room.load, config
                )
        finally:
            for task in (ending, leaving):
                task.cancel()
            await asyncio.gather(ending, leaving, return_exceptions=True)
    state = await doors.states.get(command.session)
    turn = state.turns.get(committed.turn)
    status = turn.status if turn else committed.state
    return accepted(committed.model_copy(update={"state": status}))


async def ended_view(doors: Doors, accepted: Accepted) -> TurnView | None:
    """The view of a turn that has ended already."""
    state = await doors.states.get(accepted.session)
    turn = state.turns.get(accepted.turn or "")
    if turn is None or turn.ended_at is None:
        return None
    return await view_of(doors, accepted.session, turn.id)


async def view_of(doors: Doors, session: str, turn: str) -> TurnView:
    """A turn as the log has it; raises `NotFound` where there is no such turn."""
    state = await doors.states.get(session)
    known = state.turns.get(turn)
    config = known.config if known and known.config else state.config
    events = await doors.states.turn_events(session, turn)
    return await asyncio.to_thread(turn_view, events, turn, doors.room.load, config)


async def _end_of(follower: Follower, turn: str) -> int:
    """The position of the end of the turn, once it is there."""
    while True:
        for item in await follower.next():
            if isinstance(item, Committed) and item.turn == turn and item.type in _ENDS:
                return item.position


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def accepted(committed: Accepted) -> TurnAccepted:
    """The answer to a turn that was posted and is not waited for (any longer)."""
    assert committed.turn
    return TurnAccepted(
        turn=committed.turn, position=committed.position, status=committed.state or "open"
    )
