"""Follows one turn and shows it: in live columns on a terminal wide enough, else in lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
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
from api.progress import TurnProgress

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
) -> TurnProgress:
    """Show `turn` until it has ended, and return it; without a console it is only followed.

    `notice` is told why the connection is lost, and None when it is back; a console shows it too.
    `after` is a position before the turn's first event. In the end all texts are shown in full.
    Nothing that a model says reaches the terminal but as text. Raises `RoomError` where the stream
    does.
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
            await _live(progress, changed, reader, console)
        else:
            await _lines(progress, changed, reader, console)
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


async def _draw_on(
    changed: asyncio.Event, reader: asyncio.Task[None], draw: Callable[[], None]
) -> None:
    """Draws when there is something new, at most `REFRESH` times a second, until the turn's end."""
    while not reader.done():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE):
                await changed.wait()
        changed.clear()
        draw()
        await asyncio.wait({reader}, timeout=1 / REFRESH)
    reader.result()


async def _live(
    progress: TurnProgress,
    changed: asyncio.Event,
    reader: asyncio.Task[None],
    console: Console,
) -> None:
    loop = asyncio.get_running_loop()
    columns = TurnColumns(progress, loop.time())
    live = Live(columns, console=console, auto_refresh=False, transient=True)

    def draw() -> None:
        columns.now = loop.time()
        with _one_picture(console):
            live.refresh()

    with live:
        await _draw_on(changed, reader, draw)
    console.print(TurnResult(progress))


async def _lines(
    progress: TurnProgress, changed: asyncio.Event, reader: asyncio.Task[None], console: Console
) -> None:
    lines = LabelledLines(progress, console)
    await _draw_on(changed, reader, lines.update)
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
