"""Pieces of answers on their way to the eyes: batched, and already in the form the browser gets.

One message is the JSON `{"type": "delta", "turn", "step", "attempt", "participant", "channel",
"seq", "text"}`. `seq` is the offset of its first character in the whole text of that channel in
that attempt, counted in Unicode code points. The channels are `text`, `reasoning`, and `status`: of
that one, each line tells why nothing comes yet, and the last one counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal

import orjson

from actors import subjects
from actors.bus import Bus
from actors.providers.port import Delta
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

INTERVAL = 0.005  # seconds between two batches while pieces keep coming
EACH = 0.0015  # seconds more for each call that had pieces in the last batch ...
MOST = 0.03  # ... up to so many: each piece costs every process on its way
SHARE = 3  # under load a batch is followed by at least this many times as long without one
LONGEST = 64 * 1024  # characters of one message

_channel_of = attrgetter("channel")


@dataclass(frozen=True, slots=True)
class Status:
    """A line that tells why nothing comes yet."""

    text: str
    channel: Literal["status"] = "status"


class DeltaStream:
    """The pieces of one call."""

    def __init__(
        self, publisher: DeltaPublisher, session: str, turn: str, step: str, attempt: int
    ) -> None:
        self.subject = subjects.delta(session, turn, step, attempt)
        self._publisher = publisher
        participant = step.split(":")[1] if step.count(":") else step
        head = {
            "type": "delta",
            "turn": turn,
            "step": step,
            "attempt": attempt,
            "participant": participant,
        }
        self._head = orjson.dumps(head)[:-1] + b',"channel":"'
        self._pending: list[Delta | Status] = []
        self._seq: dict[str, int] = defaultdict(int)

    def add(self, delta: Delta | Status) -> None:
        """Have `delta` published soon; returns at once."""
        if not self._pending:
            self._publisher.wake(self)
        self._pending.append(delta)

    async def flush(self) -> None:
        """Returns when everything that was added is on its way."""
        await self._publisher.send(self)

    def take(self) -> Iterator[bytes]:
        """The messages for what is pending, which is pending no more."""
        pending, self._pending = self._pending, []
        for channel, deltas in groupby(pending, _channel_of):
            text = "".join([delta.text for delta in deltas])
            for start in range(0, len(text), LONGEST):
                yield self._message(channel, text[start : start + LONGEST])

    def _message(self, channel: str, text: str) -> bytes:
        seq = self._seq[channel]
        self._seq[channel] = seq + len(text)
        try:
            encoded = orjson.dumps(text)
        except TypeError:  # half a surrogate pair, which is no character
            encoded = orjson.dumps(text.encode("utf-8", "replace").decode())
        return b'%b%b","seq":%d,"text":%b}' % (self._head, channel.encode(), seq, encoded)


class DeltaPublisher:
    """Publishes the pieces of all calls of one actor: at once when idle, else in batches.

    The more calls are answered at the same time, the longer pieces are gathered: a single answer
    flows within milliseconds, and twenty at once reach the eye within a thirtieth of a second.
    """

    def __init__(self, bus: Bus, interval: float = INTERVAL) -> None:
        self._bus = bus
        self._interval = interval
        self._waiting: list[DeltaStream] = []
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to publish; call it once, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="deltas")

    async def stop(self) -> None:
        """Stop publishing; what is pending is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def open(self, session: str, turn: str, step: str, attempt: int) -> DeltaStream:
        """A stream for one attempt of one call."""
        return DeltaStream(self, session, turn, step, attempt)

    def wake(self, stream: DeltaStream) -> None:
        """`stream` has something to publish: for the stream alone."""
        if not self._waiting:
            self._wake.set()
        self._waiting.append(stream)

    async def send(self, stream: DeltaStream) -> None:
        """Publish what is pending in `stream`: for the stream alone."""
        # One at a time, so that the pieces of a stream stay in order.
        async with self._sending:
            for message in stream.take():
                await self._bus.publish(stream.subject, message)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        ready = clock()
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Not behind the last piece: whoever pauses there wakes for nothing.
            if (left := ready - clock()) > 0:
                await asyncio.sleep(left)
            began = clock()
            waiting, self._waiting = self._waiting, []
            for stream in waiting:
                try:
                    await self.send(stream)
                except ControlRoomError as error:
                    _log.warning("deltas on %s were dropped: %s", stream.subject, error)
            pause = max(self._interval, min(EACH * len(waiting), MOST))
            ready = clock() + max(pause, SHARE * (clock() - began))
