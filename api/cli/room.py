"""What the commands share: their options, the way to the room, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from api.client import RoomClient
    from api.settings import Settings
    from events.errors import ControlRoomError

T = TypeVar("T")

PIPED = 160
"""Cells of a line of a table that goes into a pipe."""

PAGE = 200
"""Items that are asked for at once."""

OK, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The room's address; default: the room that runs in CONTROL_ROOM_HOME, or else as"
        " CONTROL_ROOM_HOST and CONTROL_ROOM_PORT say. A token is taken from CONTROL_ROOM_TOKEN.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="The session's id; 'sessions' lists them.")
]


def epilog(examples: Mapping[str, str], exit_codes: str) -> str:
    """Examples with what they do, and the exit codes, as they stand at the end of a help page."""
    width = max(len(example) for example, what in examples.items() if what)
    lines = [f"  {example:<{width}}   {what}".rstrip() for example, what in examples.items()]
    return "\b\nExamples:\n" + "\n".join(lines) + f"\n\nExit codes: {exit_codes}"


def with_room(
    url: str | None, work: Callable[[RoomClient], Awaitable[int]], *, interrupted: int = INTERRUPTED
) -> None:
    """Run `work` on the room at `url` or as the settings say; ends the command with its code.

    `interrupted` is the code after Ctrl-C.
    """
    raise typer.Exit(guarded(lambda: asyncio.run(_with_room(url, work)), interrupted))


async def _with_room(url: str | None, work: Callable[[RoomClient], Awaitable[int]]) -> int:
    async with room_client(url) as client:
        return await work(client)


def room_client(url: str | None) -> RoomClient:
    """A client of the room at `url` or as the settings say; raises `ConfigError`."""
    from api.client import RoomClient
    from api.settings import load_settings

    settings = load_settings()
    token = settings.token.get_secret_value() or None
    return RoomClient(url or _running(settings) or settings.url, token)


def _running(settings: Settings) -> str | None:
    """The address of the room that runs in the settings' data directory, if one does."""
    from api.running import noted

    facts = noted(settings.run_dir).get("serve")
    if facts is None or not isinstance(facts.get("url"), str):
        return None
    try:
        os.kill(facts["pid"], 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs, as another user
    return str(facts["url"])


def guarded(work: Callable[[], int], interrupted: int = INTERRUPTED) -> int:
    """The exit code of `work`; what goes wrong becomes one line on standard error."""
    from events.errors import ControlRoomError

    try:
        return work()
    except ControlRoomError as error:
        complain(error.message)
        return exit_code(error)
    except KeyboardInterrupt:
        return interrupted
    except BrokenPipeError:
        # Whoever read our output, like `head`, has enough; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def exit_code(error: ControlRoomError) -> int:
    """2 where the command was used wrongly, else 1."""
    from events.errors import ConfigError

    status = getattr(error, "status", None)
    wrong = status in (400, 413, 415, 422) if status is not None else isinstance(error, ConfigError)
    return WRONG_USE if wrong else FAILED


def complain(message: str) -> None:
    """Say on standard error what went wrong, in one line."""
    from api.cli.wording import in_commands
    from api.terminal_text import safe_line

    print(f"control-room: {safe_line(in_commands(message))}", file=sys.stderr)


def connection(why: str | None) -> None:
    """Say on standard error that the connection is lost, and why, or that it is back."""
    complain("connected again" if why is None else f"connection lost, trying again ({why})")


def console() -> Console:
    """Standard output; prints text as it is."""
    from rich.console import Console

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, markup=False, emoji=False, width=PIPED if piped else None)


def print_json(value: Any) -> None:
    """One line of JSON, in ASCII."""
    print(json.dumps(value), flush=True)


def say(done: dict[str, Any], said: str, *, as_json: bool) -> int:
    """Say that something is done, or print all of it as JSON; the code of a command that did it."""
    if as_json:
        print_json(done)
    else:
        console().print(said, soft_wrap=True)
    return OK


async def listed(
    page: Callable[[int, str | None], Awaitable[Mapping[str, Any]]], key: str, limit: int
) -> list[dict[str, Any]]:
    """The first `limit` items that `page` gives under `key`, a page of it after the other."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        got = await page(min(PAGE, limit - len(found)), cursor)
        found += got[key]
        cursor = got["next"]
        if cursor is None:
            break
    return found
