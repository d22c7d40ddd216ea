"""What a person can type in a chat besides messages."""

from __future__ import annotations

import re

from rich.console import Console

from api.cli.control import under_way
from api.cli.conversation import Conversation
from api.cli.costs import costs_shown
from api.client import RoomClient
from api.progress import TurnProgress
from api.terminal_text import safe_line
from events.errors import ConfigError

HELP = {
    "/attach FILE": "have an image or a text go with your next message",
    "/costs": "what this session has cost",
    "/cancel": "call off the turn that is under way (while you watch it, Ctrl-C does that)",
    "/retry NAME": "ask one participant the last message again",
    "/help": "this list",
    "/quit": "leave, like Ctrl-D; the session stays",
}
_COMMAND = re.compile(r"/[a-z]+")


def is_command(text: str) -> bool:
    """Whether a line is a command: its first word is a slash and letters, and nothing else."""
    return _COMMAND.fullmatch(text.partition(" ")[0]) is not None


async def obey(
    text: str, client: RoomClient, talk: Conversation, console: Console
) -> TurnProgress | None:
    """Do what the line says, and return the turn that it led to.

    Raises `ConfigError` for what is no command.
    """
    match text.split():
        case ["/help"]:
            width = max(map(len, HELP))
            for command, what in HELP.items():
                console.print(f"  {command:<{width}}  {what}")
        case ["/attach", _, *_]:
            name = await talk.attach(text.partition(" ")[2].strip())
            console.print(f"{safe_line(name)} goes with your next message", markup=False)
        case ["/attach"]:
            raise ConfigError("say which file: /attach FILE")
        case ["/costs"] if talk.made:
            for part in costs_shown(await client.costs(talk.session)):
                console.print(part)
        case ["/cancel"] if talk.made:
            turn = await under_way(client, talk.session)
            await client.cancel_turn(talk.session, turn)
            console.print(f"turn {turn} is called off")
        case ["/retry", name] if talk.made:
            return await talk.retry_last(name)
        case ["/costs" | "/cancel"] | ["/retry", _]:
            raise ConfigError("nothing was said yet")
        case ["/retry", *_]:
            raise ConfigError("say whom to ask again: /retry NAME")
        case [command, *_]:
            raise ConfigError(
                f"{command} is no command: /help lists them; put a space before it to post it"
            )
    return None
