"""Follows one turn and shows it: in live columns on a terminal wide enough, else in lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment

from api.client import Delta, Event, RoomClient
from api.client_stream import Notice
from api.columns import TurnColumns, TurnResult, fits
from api.labelled_lines import LabelledLines
from api.progress import Question, TurnProgress

Ask = Callable[[Question], Awaitable[None]]
"""Puts a question to the person, and tells the room what they say."""

REFRESH = 8
"""Pictures a second, at most."""
IDLE = 0.25
"""Seconds after which running clocks are drawn again though nothing came."""

SETTLED_WITHIN = 2.0
"""Seconds after the end of a turn in which calls that were called off say what they have used."""


async def watch(
    client: RoomClient,
    session: str,
    config: Mapping[str, Any],
    turn: str,
    console: Console | None,
    *,
    after: int,
    notice: Notice | None = None,
    ask: Ask | None = None,
) -> TurnProgress:
    """Show `turn` until it has ended, and return it; without a console it is only followed.

    `notice` is told why the connection is lost, and None when it is back; a console shows it too.
    `ask` is given what waits for a person, once each, while nothing is drawn; it is given up where
    that is decided elsewhere. `after` is a position before the turn's first event. In the end all
    texts are shown in full. Nothing that a model says reaches the terminal but as text. Raises
    `RoomError` where the stream does.
    """
    progress = TurnProgress(config, turn)
    changed = asyncio.Event()

    def heard(why: str | None) -> None:
        progress.lost = why or ""
        changed.set()
        if notice is not None:
            notice(why)

    messages = client.stream(session, after, notice=heard)
    reader = asyncio.create_task(_read(client, messages, progress, changed))
    try:
        if console is None:
            await reader
        elif console.is_terminal and not console.is_dumb_terminal and fits(console.width):
            await _live(progress, changed, reader, console, ask)
        else:
            await _lines(progress, changed, reader, console, ask)
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return progress


async def _read(
    client: RoomClient,
    messages: AsyncGenerator[Event | Delta, None],
    progress: TurnProgress,
    changed: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with aclosing(messages) as stream:
            async for message in stream:
                match message:
                    case Event():
                        progress.apply(message, loop.time())
                    case Delta():
                        progress.add(message)
                if progress.ended:
                    break
                changed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_WITHIN):
                    while not progress.settled:
                        late = await anext(stream)
                        if isinstance(late, Event):
                            progress.apply(late, loop.time())
        for call in progress.calls.values():
            if call.reference is not None and call.state == "done":
                call.text = await client.text(call.reference)
    finally:
        changed.set()


class _Questions:
    """Puts what waits for a person to them, once each."""

    def __init__(
        self,
        progress: TurnProgress,
        changed: asyncio.Event,
        reader: asyncio.Task[None],
        ask: Ask | None,
    ) -> None:
        self._progress = progress
        self._changed = changed
        self._reader = reader
        self._ask = ask
        self._put: set[tuple[str, str]] = set()

    @property
    def new(self) -> list[Question]:
        """What was not put to them yet."""
        found = self._progress.questions.items() if self._ask is not None else ()
        return [question for key, question in found if key not in self._put]

    async def put(self) -> None:
        """Ask until all is said, or is not wanted any more."""
        assert self._ask
        for question in self.new:
            key = (question.step, question.id)
            self._put.add(key)
            asking = asyncio.ensure_future(self._ask(question))
            while not asking.done() and key in self._progress.questions and not self._reader.done():
                woken = asyncio.create_task(self._changed.wait())
                await asyncio.wait(
                    {asking, woken, self._reader}, return_when=asyncio.FIRST_COMPLETED
                )
                woken.cancel()
                self._changed.clear()
            if not asking.done():
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def _draw_on(
    changed: asyncio.Event,
    reader: asyncio.Task[None],
    draw: Callable[[], None],
    pause: Callable[[], Awaitable[None]],
) -> None:
    """Draws when there is something new, at most `REFRESH` times a second, until the turn's end.

    After each picture there is time to `pause`.
    """
    while not reader.done():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE):
                await changed.wait()
        changed.clear()
        draw()
        await pause()
        await asyncio.wait({reader}, timeout=1 / REFRESH)
    reader.result()


async def _live(
    progress: TurnProgress,
    changed: asyncio.Event,
    reader: asyncio.Task[None],
    console: Console,
    ask: Ask | None,
) -> None:
    loop = asyncio.get_running_loop()
    columns = TurnColumns(progress, loop.time())
    live = Live(columns, console=console, auto_refresh=False, transient=True)

    def draw() -> None:
        columns.now = loop.time()
        with _one_picture(console):
            live.refresh()

    questions = _Questions(progress, changed, reader, ask)

    async def pause() -> None:
        if questions.new:
            live.stop()
            await questions.put()
            live.start()

    with live:
        await _draw_on(changed, reader, draw, pause)
    console.print(TurnResult(progress))


async def _lines(
    progress: TurnProgress,
    changed: asyncio.Event,
    reader: asyncio.Task[None],
    console: Console,
    ask: Ask | None,
) -> None:
    lines = LabelledLines(progress, console)
    questions = _Questions(progress, changed, reader, ask)

    async def pause() -> None:
        if questions.new:
            await questions.put()

    await _draw_on(changed, reader, lines.update, pause)
    lines.finish()


@contextmanager
def _one_picture(console: Console) -> Iterator[None]:
    """Has the terminal show what is written within at once (DEC mode 2026), where it can."""
    with console:
        console.control(_BEGIN)
        try:
            yield
        finally:
            console.control(_END)


def _raw(sequence: str) -> Control:
    control = Control()
    control.segment = Segment(sequence, None, [(ControlType.BELL,)])
    return control


_BEGIN, _END = _raw("\x1b[?2026h"), _raw("\x1b[?2026l")
