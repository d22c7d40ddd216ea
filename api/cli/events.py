"""`control-room events`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import room
from api.cli.room import AsJson, SessionArgument, Url

if TYPE_CHECKING:
    from api.client import Event, RoomClient

EPILOG = room.epilog(
    {
        "control-room events sess_abc123": "everything that happened in a session",
        "control-room events sess_abc123 --after 40 --follow": "what is new, as it happens",
        "control-room events sess_abc123 --json | jq .type": "one CloudEvent a line",
    },
    "0 (after Ctrl-C too), 1 where the session or the room is not there, 2 for wrong use.",
)


def events(
    session: SessionArgument,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only events behind this position.")
    ] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as events happen, until Ctrl-C.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print what happened in a session, one event a line.

    A line has the position, the time (UTC), the turn, the type, and what the event says in short.
    """

    async def work(client: RoomClient) -> int:
        show, last = _printer(as_json), after
        async for event in client.all_events(session, after):
            show(event)
            last = event.position
        if follow:
            await _follow(client, session, last, show)
        return room.OK

    room.with_room(url, work, interrupted=room.OK if follow else room.INTERRUPTED)


async def _follow(
    client: RoomClient, session: str, after: int, show: Callable[[Event], None]
) -> None:
    from api.client import Event

    async with aclosing(client.stream(session, after, notice=room.connection)) as stream:
        async for message in stream:
            if isinstance(message, Event):
                show(message)


def _printer(as_json: bool) -> Callable[[Event], None]:
    if as_json:
        return lambda event: room.print_json(event.tree)

    from api.cli.event_lines import event_line

    console = room.console()

    def show(event: Event) -> None:
        # In a pipe lines are whole; on a terminal each takes one line.
        console.print(event_line(event), soft_wrap=not console.is_terminal)

    return show
