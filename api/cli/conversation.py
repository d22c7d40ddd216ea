"""A conversation in the terminal: messages in, turns shown, Ctrl-C calls off the turn."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from api.cli.files import read_file
from api.cli.heading import heading
from api.cli.questions import asker
from api.cli.room import complain, connection
from api.client import LONGEST_MESSAGE, RoomClient, RoomError
from api.progress import TurnProgress, seats_of
from api.terminal_text import safe_line
from api.watching import watch
from events.errors import ConfigError

PREVIEW = 400
"""Characters of each text of the last turn that are shown when a session is taken up again."""


class Conversation:
    """One session, talked to from a terminal; without a console nothing is shown.

    With a configuration the session is made when the first message is posted, and not before.
    """

    def __init__(
        self,
        client: RoomClient,
        session: str,
        console: Console | None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.session = session
        self._client = client
        self._console = console
        self._unmade = None if config is None else {**config, "session_id": session}
        self._last_posted: str | None = None
        self._attached: list[Mapping[str, Any]] = []

    @property
    def made(self) -> bool:
        """Whether the room has the session, as far as is known here."""
        return self._unmade is None

    def show_nothing(self) -> None:
        """Follow turns from now on without showing them."""
        self._console = None

    async def attach(self, path: str) -> str:
        """Have the file go with the next message; returns what it is called.

        Raises `RoomError`, and `ConfigError` for what no room takes.
        """
        name, content, media_type = await asyncio.to_thread(read_file, path)
        self._attached.append(await self._client.store_file(name, content, media_type))
        return name

    async def say(self, text: str) -> TurnProgress:
        """Post `text` with what was attached, and show the turn until it has ended.

        Ctrl-C calls the turn off, a second one raises `KeyboardInterrupt`. Raises `RoomError`, and
        `ConfigError` for a message that no room takes, which is not posted.
        """
        check_message(text)
        with _interrupts() as interrupted:
            await self.make()
            view = await self._client.session(self.session)
            posted = await self._client.post_turn(self.session, text, attachments=self._attached)
            self._attached = []
            turn, after = posted["turn"], posted["position"] - 1
            self._last_posted = turn
            if view["status"] == "paused":
                complain(
                    f"session {self.session} is paused, and the message waits: go on with"
                    f" 'control-room resume {self.session}'"
                )
            return await self._follow(view["config"], turn, after, interrupted)

    async def make(self) -> None:
        """Have the room begin the session, where it has not yet."""
        if self._unmade is not None:
            await self._client.create_session(self._unmade)
            self._unmade = None

    async def retry_last(self, name: str) -> TurnProgress:
        """Ask a participant, by id or role, the last message again."""
        config = (await self._client.session(self.session))["config"]
        seats = seats_of(config)
        found = [seat for seat in seats if seat.id == name] or [
            seat for seat in seats if seat.role == name
        ]
        if len(found) != 1:
            names = ", ".join(seat.id for seat in seats)
            raise ConfigError(f"{name!r} is not one participant: there are {names}")
        if self._last_posted is None:
            async for entry in self._client.entries(self.session):
                if entry["kind"] == "message":
                    self._last_posted = entry["turn"]
        if self._last_posted is None:
            raise ConfigError("there is no message yet that could be asked again")
        return await self.retry(self._last_posted, found[0].id)

    async def retry(self, turn: str, participant: str) -> TurnProgress:
        """Ask one participant of an ended turn again; otherwise like `say`."""
        with _interrupts() as interrupted:
            config = (await self._client.session(self.session))["config"]
            posted = await self._client.retry(self.session, turn, participant)
            return await self._follow(config, posted["turn"], posted["position"] - 1, interrupted)

    async def catch_up(self) -> None:
        """Say who sits here and what was said last; show the turn that is under way, if any."""
        console = self._console
        if self._unmade is not None:
            if console is not None:
                for line in heading({"session_id": self.session, "config": self._unmade}):
                    console.print(line, soft_wrap=not console.is_terminal)
            return
        view = await self._client.session(self.session)
        if console is not None:
            for line in heading(view):
                console.print(line, soft_wrap=not console.is_terminal)
            if view["turns"]["total"]:
                for line in await self._last_said():
                    console.print(line, soft_wrap=not console.is_terminal)
        under_way = view["turns"]["open"]
        if under_way is not None:
            turns = {turn["turn"]: turn for turn in view["turns"]["last"]}
            started = turns.get(under_way, {}).get("started_at") or 1
            with _interrupts() as interrupted:
                await self._follow(view["config"], under_way, started - 1, interrupted)

    async def _follow(
        self, config: Mapping[str, Any], turn: str, after: int, interrupted: asyncio.Event
    ) -> TurnProgress:
        watching = asyncio.create_task(
            watch(
                self._client,
                self.session,
                config,
                turn,
                self._console,
                after=after,
                notice=connection if self._console is None else None,
                ask=asker(self._client, self.session, self._console),
            )
        )
        hit = asyncio.create_task(interrupted.wait())
        try:
            await asyncio.wait({watching, hit}, return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                await self._cancel(turn)
            return await watching
        finally:
            for task in (watching, hit):
                task.cancel()
            await asyncio.gather(watching, hit, return_exceptions=True)

    async def _cancel(self, turn: str) -> None:
        try:
            await self._client.cancel_turn(self.session, turn)
        except RoomError as error:
            if error.status != 409:  # it has ended by itself
                complain(error.message)

    async def _last_said(self) -> list[Text]:
        """The last message and its answers, in short."""
        last: list[Mapping[str, Any]] = []
        async for entry in self._client.entries(self.session):
            if entry["kind"] == "message":
                last = [entry]
            elif entry["kind"] == "answer" and not entry["superseded_by"]:
                last.append(entry)
        lines = []
        for each in last:
            text = safe_line(await self._client.text(each["text"]))
            short = text if len(text) <= PREVIEW else f"{text[:PREVIEW]}…"
            for file in each.get("attachments", ()):
                short += f" [{safe_line(file['name'])}]"
            who = "you" if each["kind"] == "message" else safe_line(each["label"])
            lines.append(Text(f"{who}: ", style="bold").append(short, style="not bold dim"))
        return lines


def check_message(text: str) -> None:
    """Raises `ConfigError` for a message that every room refuses."""
    if not text.strip():
        raise ConfigError("the message is empty: write something")
    if (size := len(text.encode())) > LONGEST_MESSAGE:
        raise ConfigError(
            f"the message has {size} bytes, and may have {LONGEST_MESSAGE}: shorten it, or post it"
            " in parts"
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C raises `KeyboardInterrupt` from here."""
    interrupted = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    before = signal.getsignal(signal.SIGINT)
    leaving = False

    def hit() -> None:
        nonlocal leaving
        if interrupted.is_set() and task is not None:
            leaving = True
            task.cancel()
        interrupted.set()

    loop.add_signal_handler(signal.SIGINT, hit)
    try:
        yield interrupted
    except asyncio.CancelledError:
        if leaving:
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
