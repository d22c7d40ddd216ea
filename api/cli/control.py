"""`control-room cancel`, `retry`, `pause`, `resume`, `close`: how a session goes on, or ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.answers import Wait
from api.cli.room import AsJson, SessionArgument, Url

if TYPE_CHECKING:
    from api.client import RoomClient

_DONE = "0 where it is done (or was already), 1 where it cannot be done now, 2 for wrong use."
CANCEL_EPILOG = room.epilog(
    {
        "control-room cancel sess_abc123": "call off the turn that is under way",
        "control-room cancel sess_abc123 t7": "call off that one, open or queued",
    },
    "0 where it is called off, 1 where there is no such turn or it has ended, 2 for wrong use.",
)
RETRY_EPILOG = room.epilog(
    {
        "control-room retry sess_abc123 t7 architect": "ask the architect again, print the answer",
        "control-room retry sess_abc123 t7 architect --json": "the new turn, for programs",
    },
    "0 where an answer came, 1 where none came or it cannot be asked for now, 2 for wrong use.",
)
PAUSE_EPILOG = room.epilog({"control-room pause sess_abc123": "ask no model until resumed"}, _DONE)
RESUME_EPILOG = room.epilog({"control-room resume sess_abc123": "go on where it was paused"}, _DONE)
CLOSE_EPILOG = room.epilog(
    {"control-room close sess_abc123": "call off what is open, and end the session for good"}, _DONE
)

TurnArgument = Annotated[str, typer.Argument(metavar="TURN", help="Such as t7; 'show' names them.")]


def cancel(
    session: SessionArgument,
    turn: Annotated[
        str | None,
        typer.Argument(metavar="TURN", help="Open or queued; default: the one under way."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Call off a turn: no further model is asked, and those that write are stopped.

    What was said by then stays in the log.
    """

    async def work(client: RoomClient) -> int:
        done = await client.cancel_turn(session, turn or await under_way(client, session))
        return room.say(done, f"turn {done['turn']} is called off", as_json=as_json)

    room.with_room(url, work)


async def under_way(client: RoomClient, session: str) -> str:
    """The open turn of the session; raises where there is none."""
    from events.errors import ControlRoomError

    turn = (await client.session(session))["turns"]["open"]
    if turn is None:
        raise ControlRoomError(f"no turn of session {session!r} is under way")
    return str(turn)


def retry(
    session: SessionArgument,
    turn: TurnArgument,
    participant: Annotated[
        str, typer.Argument(metavar="PARTICIPANT", help="Its id; 'show' names them.")
    ],
    *,
    wait: Wait = 600,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask one participant of an ended turn again, and print its answer.

    That is a turn of its own, with the context of the first. The older answer is kept; from now
    on the others are shown the new one. Ctrl-C calls it off.
    """

    async def work(client: RoomClient) -> int:
        from api.cli.answers import code_of, print_answers, within
        from api.cli.conversation import Conversation

        talk = Conversation(client, session, None)
        progress = await within(client, talk.retry(turn, participant), wait, session)
        if as_json:
            room.print_json(await client.turn(session, progress.turn))
        else:
            await print_answers(client, progress)
        return code_of(progress)

    room.with_room(url, work)


def pause(session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Ask no model any more until the session is resumed.

    Answers that are being written are still taken; messages that come meanwhile wait.
    """
    _change(
        url,
        lambda client: client.pause(session),
        f"session {session} is paused; go on with 'control-room resume {session}'",
        as_json=as_json,
    )


def resume(session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Go on with a session that was paused."""
    _change(
        url,
        lambda client: client.resume(session),
        f"session {session} goes on",
        as_json=as_json,
    )


def close(session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """End a session for good: what is open or queued is called off, no message is taken any more.

    What was said can be read, replayed and audited as before.
    """
    _change(
        url,
        lambda client: client.close_session(session),
        f"session {session} is closed; read it with 'control-room show {session}'",
        as_json=as_json,
    )


def _change(
    url: str | None,
    change: Callable[[RoomClient], Awaitable[dict[str, Any]]],
    said: str,
    *,
    as_json: bool,
) -> None:
    async def work(client: RoomClient) -> int:
        return room.say(await change(client), said, as_json=as_json)

    room.with_room(url, work)
