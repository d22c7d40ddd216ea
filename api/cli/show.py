"""`control-room show`: a session as people read it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from api.cli import room
from api.cli.room import AsJson, SessionArgument, Url

if TYPE_CHECKING:
    from rich.text import Text

    from api.client import RoomClient

EPILOG = room.epilog(
    {
        "control-room show sess_abc123": "the whole conversation",
        "control-room show sess_abc123 | less": "page by page",
        "control-room show sess_abc123 --json": "the transcript, for programs",
    },
    "0, 1 where the session or the room is not there, 2 for wrong use.",
)


def show(session: SessionArgument, url: Url = None, as_json: AsJson = False) -> None:
    """Print what was said in a session: messages, answers, failures and decisions.

    An answer that was asked for again stands behind the one that it replaces.
    """

    async def work(client: RoomClient) -> int:
        if as_json:
            room.print_json(await _transcript(client, session))
            return room.OK
        from api.cli.budgets import budget_lines
        from api.cli.heading import heading

        console = room.console()
        view = await client.session(session)
        budgets = budget_lines(view["config"], await client.costs(session))
        for line in (*heading(view), *budgets):
            console.print(line, soft_wrap=not console.is_terminal)
        async for line in conversation_lines(client, session, view["config"]):
            # A terminal wraps between words; in a pipe a line stays whole.
            console.print(line, soft_wrap=not console.is_terminal)
        return room.OK

    room.with_room(url, work)


async def _transcript(client: RoomClient, session: str) -> Mapping[str, Any]:
    """The pages of the transcript as one."""
    entries = [entry async for entry in client.entries(session)]
    position = max((entry["position"] for entry in entries), default=0)
    return {"session": session, "position": position, "entries": entries}


async def conversation_lines(
    client: RoomClient, session: str, config: Mapping[str, Any]
) -> AsyncIterator[Text]:
    """The conversation line by line; long texts are fetched."""
    from rich.text import Text

    from api.columns import decision_line
    from api.progress import decided
    from api.terminal_text import safe_line

    pattern = config["routing_pattern"]
    async for entry in client.entries(session):
        match entry["kind"]:
            case "message":
                yield Text(f"\nyou ({entry['turn']}):", style="bold")
                for line in await _text(client, entry["text"]):
                    yield line
                for file in entry["attachments"]:
                    what = f"{file['name']} ({file['media_type']}, {file['size']} bytes)"
                    yield Text(f"  attached: {safe_line(what)}", style="dim")
            case "answer":
                yield Text("\n").append_text(_speaker(entry)).append(_note(entry), style="dim")
                for line in await _text(client, entry["text"]):
                    yield line
            case "interim" | "call" | "output" | "failure":
                for line in await _on_the_way(client, entry):
                    yield line
            case "decision":
                yield decision_line(pattern, decided(entry["type"], entry["data"]))
            case "end":
                problem = entry["problem"]
                style = "yellow" if problem["reason"] == "cancelled" else "red"
                reason, why = problem["reason"].replace("_", " "), safe_line(problem["message"])
                said = why if why.startswith(reason) else f"{reason}: {why}" if why else reason
                yield Text(f"\nturn {entry['turn']}: {said}", style=style)


async def _on_the_way(client: RoomClient, entry: Mapping[str, Any]) -> list[Text]:
    """What is no answer: what was said before tools were called, their calls, and failures."""
    from rich.text import Text

    from api.terminal_text import safe_line

    if entry["kind"] == "call":
        return [Text("  ⚙ ").append(safe_line(await _call(client, entry)), style="dim")]
    if entry["kind"] == "output":
        head = Text("\nthe workflow's output:", style="bold")
        return [head, *await _text(client, entry["text"])]
    head = Text("\n").append_text(_speaker(entry))
    if entry["kind"] == "interim":
        does = "answers the workflow" if entry["purpose"] == "workflow" else "calls tools"
        return [head.append(f" {does}:", style="dim"), *await _text(client, entry["text"])]
    head.append(f" failed: {safe_line(entry['message'])}", style="red")
    return [head, *await _text(client, entry["partial"] or "")]


async def _call(client: RoomClient, entry: Mapping[str, Any]) -> str:
    """A call of a tool, and what came of it, in short."""
    from api.tool_lines import short

    who = f"{entry['participant']} → " if entry["participant"] else ""
    call = f"{who}{entry['name']}({short(entry['arguments'])})"
    if entry["outcome"] == "returned":
        text = short(await client.text(entry["text"])) or short(entry["structured"])
        return f"{call}{' could not' if entry['is_error'] else ''}: {text}"
    return f"{call} {entry['outcome']}{': ' + entry['reason'] if entry['reason'] else ''}"


def _speaker(entry: Mapping[str, Any]) -> Text:
    from rich.text import Text

    from api.progress import Seat
    from api.terminal_text import safe_line

    seat = Seat(entry["participant"], entry["role"] or "", entry["provider"], entry["model"])
    return Text(safe_line(seat.title), style="bold").append(
        f" ({safe_line(f'{seat.provider}/{seat.model}')})", style="not bold dim"
    )


def _note(entry: Mapping[str, Any]) -> str:
    notes = [entry["purpose"]] if entry["purpose"] != "answer" else []
    notes += ["cut short"] if entry["finish_reason"] == "length" else []
    notes += ["images left out"] if entry["images_left_out"] else []
    notes += ["asked again, see below"] if entry["superseded_by"] else []
    return f" · {', '.join(notes)}:" if notes else ":"


async def _text(client: RoomClient, text: str | Mapping[str, Any]) -> list[Text]:
    from rich.text import Text

    from api.terminal_text import safe

    return [Text(f"  {line}") for line in safe(await client.text(text)).strip().splitlines()]
