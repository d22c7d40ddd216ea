"""`control-room approvals`, `approve`, `deny`, `answer`: calls of tools that wait for a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.room import AsJson, SessionArgument, Url

if TYPE_CHECKING:
    from rich.text import Text

    from api.client import RoomClient

_DECIDED = "0 where it is decided (or was so already), 1 where it cannot be, 2 for wrong use."
APPROVALS_EPILOG = room.epilog(
    {
        "control-room approvals": "what waits for a person, in all sessions",
        "control-room approvals sess_abc123": "what waits there",
        "control-room approvals --json": "the same, for programs",
    },
    "0 where it was read, whether anything waits or not, 1 where it was not, 2 for wrong use.",
)
APPROVE_EPILOG = room.epilog(
    {
        "control-room approve sess_abc123": "allow the one call that waits",
        "control-room approve sess_abc123 call:files__write_file:1": "allow that one",
    },
    _DECIDED,
)
DENY_EPILOG = room.epilog(
    {"control-room deny sess_abc123 --reason 'not that file'": "do not allow it, and say why"},
    _DECIDED,
)
ANSWER_EPILOG = room.epilog(
    {
        """control-room answer sess_abc123 '{"city": "Rome"}'""": "answer what a tool asks",
        "control-room answer sess_abc123 --decline": "do not answer; the tool goes on",
    },
    _DECIDED,
)

StepArgument = Annotated[
    str | None,
    typer.Argument(metavar="STEP", help="Key of the call; default: the one that waits."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; a model is told why it may not.")]


def approvals(
    session: Annotated[
        str | None,
        typer.Argument(metavar="SESSION", help="The session's id; default: all sessions."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say which calls of tools wait for a person, and what tools ask.

    Of all sessions, what has waited longest comes first.
    """

    async def work(client: RoomClient) -> int:
        return await (
            _of_all(client, as_json=as_json)
            if session is None
            else _of_one(client, session, as_json=as_json)
        )

    room.with_room(url, work)


async def _of_all(client: RoomClient, *, as_json: bool) -> int:
    waiting = await room.listed(client.waiting, "waiting", sys.maxsize)
    if as_json:
        room.print_json({"waiting": waiting})
        return room.OK
    console = room.console()
    names: dict[str, str] = {}
    for one in waiting:
        id = one["session_id"]
        if one["participant"] is None and id not in names:
            names[id] = await _itself(client, id)
        console.print(await described(client, one, names.get(id, "")), soft_wrap=True)
    if not waiting:
        console.print("nothing waits for a person", soft_wrap=True)
    return room.OK


async def _of_one(client: RoomClient, session: str, *, as_json: bool) -> int:
    found = await client.approvals(session)
    if as_json:
        room.print_json(found)
        return room.OK
    console = room.console()
    waiting = (*found["approvals"], *found["questions"])
    if waiting:
        itself = await _itself(client, session)
        for one in waiting:
            console.print(await described(client, one, itself), soft_wrap=True)
    else:
        console.print(f"nothing of session {session} waits for a person", soft_wrap=True)
    return room.OK


async def _itself(client: RoomClient, session: str) -> str:
    """Who calls tools in a session besides its participants."""
    pattern = (await client.session(session))["config"]["routing_pattern"]
    return "the workflow" if pattern == "workflow" else "the script"


def approve(
    session: SessionArgument,
    step: StepArgument = None,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Allow a call of a tool that waits for it: it is made now."""
    _decide(session, step, reason, url, granted=True, as_json=as_json)


def deny(
    session: SessionArgument,
    step: StepArgument = None,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Do not allow a call of a tool: its model is told so, and goes on."""
    _decide(session, step, reason, url, granted=False, as_json=as_json)


def _decide(
    session: str, step: str | None, reason: str, url: str | None, *, granted: bool, as_json: bool
) -> None:
    async def work(client: RoomClient) -> int:
        open_ = (await client.approvals(session))["approvals"]
        waits = any(step in (None, each["step"]) for each in open_)
        asked = open_ if waits else await _asked_before(client, session, step)
        one = _chosen(asked, step, session)
        decide = client.approve if granted else client.deny
        done = await decide(session, one["turn"], one["step"], reason)
        said = f"{one['name']} ({one['step']}) is {'allowed' if granted else 'not allowed'}"
        return room.say(done, said, as_json=as_json)

    room.with_room(url, work)


async def _asked_before(
    client: RoomClient, session: str, step: str | None
) -> list[Mapping[str, Any]]:
    """The last call of that step, or of any, about which a person was asked: one at most.

    The room knows what was decided: the same again changes nothing, the opposite it refuses.
    """
    last: list[Mapping[str, Any]] = []
    async for event in client.all_events(session):
        if event.type == "approval.requested" and step in (None, event.step):
            name = event.payload["use"]["name"]
            last = [{"turn": event.turn, "step": event.step, "name": name}]
    return last


def answer(
    session: SessionArgument,
    content: Annotated[
        str | None, typer.Argument(metavar="JSON", help="The answer, by the question's form.")
    ] = None,
    step: Annotated[
        str | None, typer.Option("--step", help="Key of the call; default: the one that asks.")
    ] = None,
    *,
    decline: Annotated[bool, typer.Option("--decline", help="Give no answer.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Answer what a tool asks while it works."""

    async def work(client: RoomClient) -> int:
        one = _chosen((await client.approvals(session))["questions"], step, session)
        done = await client.answer_question(
            session,
            one["turn"],
            one["step"],
            "decline" if decline else "accept",
            content=None if decline else parsed(content or "{}"),
            question=one["question"],
        )
        return room.say(done, f"{one['name']} ({one['step']}) is told", as_json=as_json)

    room.with_room(url, work)


def parsed(content: str) -> dict[str, Any]:
    """The JSON object of a person's answer; raises `ConfigError` where it is none."""
    import json

    from events.errors import ConfigError

    try:
        tree = json.loads(content)
        json.dumps(tree, allow_nan=False)  # which `loads` reads, and nobody else
    except ValueError as error:
        raise ConfigError(f"the answer is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError('the answer is a JSON object, such as {"city": "Rome"}')
    return tree


def _chosen(waiting: list[Mapping[str, Any]], step: str | None, session: str) -> Mapping[str, Any]:
    """The call of that step, or the one that waits; raises where that is not one."""
    from events.errors import ConfigError, ControlRoomError

    found = [one for one in waiting if step in (None, one["step"])]
    if not found:
        raise ControlRoomError(f"nothing of session {session!r} waits for that")
    if len(found) > 1:
        steps = ", ".join(one["step"] for one in found)
        raise ConfigError(f"several calls wait: name one of {steps}")
    return found[0]


async def described(client: RoomClient, one: Mapping[str, Any], itself: str) -> Text:
    """A call that waits: who wants which tool with what, and what is asked.

    `itself` is said of a call that no participant makes. One of a list of all sessions also says in
    which it is, and since when it waits.
    """
    from rich.text import Text

    from api.terminal_text import safe, safe_line

    where = f"{one['session_id']} " if "session_id" in one else ""
    line = Text(f"{where}{one['turn']} {one['step']}  ", style="dim")
    who = one["participant"] or itself
    line.append(f"{who} wants to call {safe_line(one['name'])}", style="bold not dim")
    line.append(f"\n    {safe(await client.text(one['arguments']))}", style="not dim")
    if "message" in one:
        line.append(f"\n    it asks: {safe(one['message'])}", style="not dim")
        if one["url"]:
            line.append(f"\n    at {safe_line(one['url'])}", style="not dim")
        if one["form"]:
            import json

            line.append(f"\n    form: {safe_line(json.dumps(one['form']))}", style="dim")
    if "since" in one:
        line.append(f"\n    since {one['since'][:16].replace('T', ' ')} UTC", style="dim")
    return line
