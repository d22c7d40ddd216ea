"""`control-room run`: run a workflow, and follow it to its end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import room
from api.cli.answers import LONGEST_WAIT
from api.cli.room import AsJson, Url

if TYPE_CHECKING:
    from rich.console import Console

    from api.cli.questions import Asker
    from api.client import RoomClient
    from api.client_messages import Event
    from api.progress import TurnProgress

EPILOG = room.epilog(
    {
        "control-room run crew.json --input topic=owls": "follow it; its output goes to the"
        " standard output",
        "control-room run --toolchain nightly --detach": "a saved one; prints the run's id",
        "control-room run chain.yaml --inputs '{\"topics\": [1, 2]}' --json": "the whole run, for"
        " programs",
    },
    "0 where it was completed (or, with --detach, started), 1 where it failed, was cancelled or is"
    " still running, 2 for wrong use.",
)


def run(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="JSON or YAML: framework, models, inputs and so on."),
    ] = None,
    *,
    toolchain: Annotated[
        str | None, typer.Option(metavar="NAME", help="A saved one; a file's keys count more.")
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=TEXT", help="An input; repeatable."),
    ] = None,
    inputs: Annotated[
        str | None, typer.Option(metavar="JSON", help="All inputs as an object, or a plain text.")
    ] = None,
    wait: Annotated[
        float,
        typer.Option(min=0.1, max=LONGEST_WAIT, metavar="SECONDS", help="Follow it so long."),
    ] = 3600,
    detach: Annotated[bool, typer.Option("--detach", help="Start it, and do not follow.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow on the room's models and tools.

    Each call is told on standard error as it happens, and its output goes to standard output. What
    waits for a person is asked here where there is a terminal. Ctrl-C stops following; the run
    goes on.
    """

    async def work(client: RoomClient) -> int:
        started = await client.start_run(envelope(file, toolchain, input_ or [], inputs))
        if detach:
            room.print_json(started) if as_json else print(started["run_id"])
            return room.OK
        return await _followed(client, started, wait, as_json=as_json)

    room.with_room(url, work)


def envelope(
    file: Path | None, toolchain: str | None, single: list[str], inputs: str | None
) -> dict[str, Any]:
    """What is to be run; raises `ConfigError` for what cannot be meant."""
    from api.cli.presets import read_object
    from events.errors import ConfigError

    if file is None and toolchain is None:
        raise ConfigError("name a FILE, or a saved workflow with --toolchain NAME")
    if single and inputs is not None:
        raise ConfigError("give either --input or --inputs")
    made = read_object(file) if file is not None else {}
    if toolchain is not None:
        made["toolchain"] = toolchain
    given: Any = _named(single) if inputs is None else _parsed(inputs)
    if given:
        saved: Any = made.get("inputs")
        both = isinstance(saved, dict) and isinstance(given, dict)
        made["inputs"] = {**saved, **given} if both else given
    return made


def _named(single: list[str]) -> dict[str, Any]:
    """The inputs of `--input`."""
    from events.errors import ConfigError

    found = {}
    for one in single:
        name, equals, text = one.partition("=")
        if not (equals and name):
            raise ConfigError(f"--input {one!r}: write NAME=TEXT")
        found[name] = text
    return found


def _parsed(inputs: str) -> Any:
    """The inputs of `--inputs`: an object, or a text."""
    try:
        read = json.loads(inputs)
    except ValueError:
        return inputs
    return read if isinstance(read, dict) else inputs


async def _followed(
    client: RoomClient, started: dict[str, Any], wait: float, *, as_json: bool
) -> int:
    """The exit code of a run that is followed to its end."""
    from api.terminal_text import safe

    id, turn = started["run_id"], started["turn"]
    following = Following(client, id, turn, quiet=as_json)
    try:
        async with asyncio.timeout(wait):
            await following.to_its_end()
    except TimeoutError:
        room.complain(f"the run did not end within {wait:g} s and goes on: {_look(id)}")
        return room.FAILED
    except asyncio.CancelledError:
        room.complain(
            f"the run goes on: {_look(id)}, or call it off by 'control-room runs cancel {id}'"
        )
        raise
    found = await client.run(id, turn)
    if as_json:
        room.print_json(found)
    elif found["output"] is not None:
        print(safe(found["output"]))
    if found["status"] != "completed":
        problem = found["problem"] or {}
        room.complain(f"run {id} {found['status']}: {problem.get('message') or 'by a person'}")
        return room.FAILED
    return room.OK


def _look(id: str) -> str:
    return f"look at it by 'control-room runs show {id}'"


class Following:
    """Tells a run as it goes on, on standard error, and asks what waits for a person."""

    def __init__(self, client: RoomClient, run: str, turn: str, *, quiet: bool) -> None:
        self._client, self._run, self._turn = client, run, turn
        self._quiet = quiet
        self._asking: tuple[tuple[str, str], asyncio.Task[None]] | None = None

    async def to_its_end(self) -> None:
        """Returns when the run has ended."""
        from contextlib import aclosing

        from rich.console import Console

        from api.cli.questions import asker
        from api.client_messages import Event
        from api.progress import TurnProgress

        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        config = (await self._client.session(self._run))["config"]
        progress = TurnProgress(config, self._turn)
        ask = None if self._quiet else asker(self._client, self._run, console)
        if not self._quiet:
            console.print(f"run {self._run}", soft_wrap=True)
        stream = self._client.stream(self._run, notice=room.connection)
        try:
            async with aclosing(stream) as messages:
                async for message in messages:
                    if isinstance(message, Event) and message.turn == self._turn:
                        progress.apply(message, 0)
                        if not self._quiet:
                            self._tell(console, message, asked=ask is not None)
                        self._ask(progress, ask)
                        if progress.ended:
                            return
        finally:
            if self._asking is not None:
                self._asking[1].cancel()

    def _tell(self, console: Console, event: Event, *, asked: bool) -> None:
        from api.run_lines import run_line
        from api.terminal_text import safe_line

        line = run_line(event)
        if line is not None:
            console.print(safe_line(line), soft_wrap=True)
        if asked:
            return
        how = {"approval.requested": "approve", "elicitation.requested": "answer"}.get(event.type)
        if how is not None:
            console.print(f"  decide by 'control-room {how} {self._run}'", soft_wrap=True)

    def _ask(self, progress: TurnProgress, ask: Asker | None) -> None:
        """Put one question after the other; one that was decided elsewhere is taken back."""
        if ask is None:
            return
        if self._asking is not None:
            key, task = self._asking
            if key in progress.questions:
                return
            task.cancel()
            self._asking = None
        for key, question in progress.questions.items():
            self._asking = key, asyncio.ensure_future(ask(question))
            return
