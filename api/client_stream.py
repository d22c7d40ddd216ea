"""The stream of a session over WebSocket, connected again with its cursor where it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from api.client_messages import (
    REFUSALS,
    Delta,
    Event,
    RoomError,
    RoomUnreachable,
    messages_of,
    problem_of,
    reason_of,
    refusal_of,
)

PATIENCE = 30.0
"""Seconds in which a broken stream has to be connected again."""
OPEN_WITHIN = 10.0

SILENT = 10.0
"""Seconds without an answer to a ping after which a connection counts as broken."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0

Notice = Callable[[str | None], None]
"""Is told why a connection was lost, and None when there is one again."""


async def follow(
    room: str,
    path: str,
    after: int,
    headers: Mapping[str, str],
    *,
    proxied: bool,
    notice: Notice | None = None,
) -> AsyncGenerator[Event | Delta, None]:
    """Every event beyond `after` once and in order, and deltas between them; never ends.

    `room` is the room's address and `path` that of the stream. Raises `RoomError` where the room
    refuses the stream, and `RoomUnreachable` where no connection can be had for `PATIENCE` seconds.
    """
    loop = asyncio.get_running_loop()
    pause, lost = _FIRST_PAUSE, loop.time()
    away = False
    url = "ws" + room.removeprefix("http") + path
    while True:
        opened, why = False, "the connection was closed"
        try:
            async with connect(
                f"{url}?after={after}&lines=true",
                additional_headers=headers,
                compression=None,
                proxy=True if proxied else None,
                open_timeout=OPEN_WITHIN,
                ping_interval=SILENT,
                ping_timeout=SILENT,
                max_size=None,
            ) as socket:
                opened = True
                if away and notice is not None:
                    notice(None)
                away = False
                async for frame in socket:
                    for message in messages_of(frame):
                        if isinstance(message, Event):
                            if message.position <= after:
                                continue
                            after = message.position
                        yield message
        except (OSError, TimeoutError, WebSocketException) as error:
            if (refused := _refused(error)) is not None:
                raise refused from None
            why = reason_of(error)
        if opened:
            pause, lost = _FIRST_PAUSE, loop.time()
        elif loop.time() - lost > PATIENCE:
            raise RoomUnreachable(room, why)
        if not away and notice is not None:
            notice(why)
        away = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _refused(error: Exception) -> RoomError | None:
    """What the room has against the stream, where coming again would not help."""
    match error:
        case InvalidStatus(response=response) if response.status_code < 500:
            return problem_of(response.status_code, bytes(response.body or b""))
        case ConnectionClosed(rcvd=close) if close is not None and close.code in REFUSALS:
            return refusal_of(close.code, close.reason)
        case _:
            return None
