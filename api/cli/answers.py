"""How a turn that a command waited for is printed, and what the command ends with."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room

if TYPE_CHECKING:
    from api.client import RoomClient
    from api.progress import TurnProgress

LONGEST_WAIT = 86_400

Wait = Annotated[
    float,
    typer.Option(
        min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="Wait for answers at most so long."
    ),
]


async def within(
    client: RoomClient, work: Coroutine[Any, Any, TurnProgress], seconds: float, session: str
) -> TurnProgress:
    """The turn that `work` follows; raises where it does not end in time."""
    from events.errors import ControlRoomError

    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        if (await client.session(session))["status"] == "paused":
            raise ControlRoomError(
                f"the turn did not end within {seconds:g} s, because session {session} is paused:"
                f" go on with it by 'control-room resume {session}'"
            ) from None
        raise ControlRoomError(
            f"the turn did not end within {seconds:g} s and goes on: look at it with"
            f" 'control-room show {session}', or call it off with 'control-room cancel {session}'"
        ) from None


async def print_answers(client: RoomClient, progress: TurnProgress) -> None:
    """The turn's answer, or everyone's, to standard output; what failed to standard error."""
    from api.terminal_text import safe

    if progress.answer is not None:
        print(safe(await client.text(progress.answer)))
    else:
        last = {call.participant: call for call in progress.said()}
        for seat in progress.seats:
            if (call := last.get(seat.id)) is not None:
                print(f"{safe(seat.title)} ({safe(seat.provider)}/{safe(seat.model)}):")
                print(f"{safe(call.text).strip()}\n")
    for name in {call.participant: None for call in progress.calls.values() if call.blind}:
        print(f"{name}: images left out, because its model takes none", file=sys.stderr)
    for call in progress.calls.values():
        if call.state == "failed":
            room.complain(f"{call.participant} failed: {call.message}")
    if progress.status != "completed":
        why = f": {progress.brief_problem}" if progress.problem else ""
        room.complain(
            f"the turn {'was cancelled' if progress.status == 'cancelled' else 'failed'}{why}"
        )


def code_of(progress: TurnProgress) -> int:
    """0 where the turn was answered, else 1."""
    return room.OK if progress.status == "completed" else room.FAILED
