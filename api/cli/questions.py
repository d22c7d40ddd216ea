"""A person at the terminal decides what waits for one, while the turn goes on."""

from __future__ import annotations

import asyncio
import json
import sys
import termios
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from api.cli.approvals import parsed
from api.cli.room import complain
from api.client import RoomClient, RoomError
from api.progress import Question
from api.terminal_text import safe, safe_line
from events.errors import ConfigError


class Asker:
    """Asks the person what a session's turn waits for, and tells the room what they say.

    Only where standard input is a terminal.
    """

    def __init__(self, client: RoomClient, session: str, console: Console) -> None:
        self._client = client
        self._session = session
        self._console = console

    async def __call__(self, question: Question) -> None:
        """Ask until the answer can be used; nothing is said at the end of the input."""
        while True:
            try:
                if await self._asked(question):
                    return
            except ConfigError as error:
                complain(error.message)
            except RoomError as error:
                complain(error.message)
                if error.status != 422:  # somebody else has decided, or the room is away
                    return

    async def _asked(self, question: Question) -> bool:
        self._console.print(Text(safe(question.text), style="bold"), soft_wrap=True)
        return await (self._answer(question) if question.id else self._decide(question))

    async def _decide(self, question: Question) -> bool:
        said = await self._line("Allow this call? [y/N, or why not] ")
        if said is None:
            return True
        if said.casefold() in ("y", "yes"):
            await self._client.approve(self._session, question.turn, question.step)
        else:
            reason = "" if said.casefold() in ("", "n", "no") else said
            await self._client.deny(self._session, question.turn, question.step, reason)
        return True

    async def _answer(self, question: Question) -> bool:
        if question.form:
            form = safe_line(json.dumps(question.form))
            self._console.print(Text(f"form: {form}", style="dim"), soft_wrap=True)
        said = await self._line("Answer as JSON, or nothing to decline: ")
        if said is None:
            return True
        content: Mapping[str, object] | None = parsed(said) if said else None
        await self._client.answer_question(
            self._session,
            question.turn,
            question.step,
            "decline" if content is None else "accept",
            content=content,
            question=question.id,
        )
        return True

    async def _line(self, prompt: str) -> str | None:
        """A line of the terminal, or None at its end; giving up waiting harms nothing.

        What was typed before it is asked for is thrown away: it answers nothing that was seen.
        """
        if sys.stdin.isatty():
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        self._console.print(Text(prompt), end="")
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ready.set)
        try:
            await ready.wait()
            line = sys.stdin.readline()
        finally:
            loop.remove_reader(sys.stdin.fileno())
        return line.strip() if line else None


def asker(client: RoomClient, session: str, console: Console | None) -> Asker | None:
    """Who asks, where there is somebody to ask."""
    if console is None or not console.is_terminal or not sys.stdin.isatty():
        return None
    return Asker(client, session, console)
