"""What happens in one session, for everyone who watches it: read once, serialised once.

A feed follows the log of its session. The notice of a commit carries its events where they are
short. A notice that does not fit on what was shown only has the feed read the log, and so does a
pause without one, because notices may be lost. Between the events it places the pieces of the
answers that are being written. Followers each have a place in what was shown last; one that is too
slow for that loses the pieces of the steps that are open, reads the events from the log, and goes
on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from actors import subjects
from actors.bus import Bus, Msg, Subscription
from actors.notices import read_notice
from api.delta_stream import stored_pieces
from api.pieces import Gap, Pieces, StepKey
from api.shown import Committed, Piece, Shown
from events.envelope import Event, Head
from events.errors import ControlRoomError
from events.store import EventStore
from events.types import TurnStarted

_log = logging.getLogger(__name__)

PAUSE = 2.0  # seconds after which the log is looked at even without a notice
PAGE = 500  # events read at once
MOST_SHOWN = 4096  # events and pieces kept for followers
MOST_WEIGHT = 4 * 1024 * 1024  # their characters
GATHER = 0.01  # seconds from one waking of the followers to the next, where only pieces came
RECOVERIES = 3  # times that a gap is looked for in the DELTAS stream


_Addressed = tuple[StepKey, int, bytes]
"""A piece with its step and attempt, which its subject says."""


class Feed:
    """The events of one session from its start on, and the pieces between them.

    `position` is that of the last event shown. `fault` is set when the log cannot be followed any
    more: every follower is told.
    """

    def __init__(self, session: str, bus: Bus, store: EventStore) -> None:
        self.session = session
        self.position = 0
        self.fault: ControlRoomError | None = None
        self.pieces = Pieces()
        self.watchers: set[asyncio.Event] = set()
        self._bus = bus
        self._store = store
        self._shown: list[Shown] = []
        self._first = 0  # index of the first of `_shown` in all that was ever shown
        self._weight = 0
        self._hint = asyncio.Event()
        self._noticed = False  # something, since the log was last thought of
        self._reading = asyncio.Lock()
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._buffer: list[_Addressed] | None = None
        self._woken = 0.0  # time of the event loop
        self._waking: asyncio.TimerHandle | None = None

    # --- life ------------------------------------------------------------------------------------

    async def start(self, head: Head) -> None:
        """Follow the log from `head` or later on; raises `StoreError` where it cannot be read."""
        notices = await self._bus.subscribe(subjects.committed(self.session), self._notice)
        self._subscriptions.append(notices)
        for event in await self._of_open_turn(head):
            self.pieces.apply(event)
        self.position = head.position
        self._spawn(self._run())
        self._hint.set()

    async def stop(self) -> None:
        """Follow no longer."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        if self._waking is not None:
            self._waking.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reconnected(self) -> None:
        """What was said while NATS was away was not heard."""
        self._hint.set()
        if self._watching is not None and self._watching.done():
            self._recover(set(self.pieces.open))

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _of_open_turn(self, head: Head) -> list[Event]:
        """The events since the start of the turn that is open at `head`; none where none is."""
        events: list[Event] = []
        after, window = head.position, 64
        while head.open_turn is not None and after > 0:
            start = max(0, after - window)
            events[:0] = page = await self._store.read(self.session, start, after - start)
            if any(isinstance(e.data, TurnStarted) and e.turn == head.open_turn for e in page):
                break
            after, window = start, 2 * window
        return events

    # --- events ----------------------------------------------------------------------------------

    def _notice(self, msg: Msg) -> None:
        notice = read_notice(msg.data)
        if notice.position <= self.position:
            return
        follow = notice.events and notice.events[0].position == self.position + 1
        if not follow or self._reading.locked():
            self._hint.set()
            return
        self._noticed = True
        for event in notice.events:
            self._show_event(Committed.noticed(event))
        self._wake()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PAUSE):
                    await self._hint.wait()
            except TimeoutError:
                if self._noticed:  # nothing was missed before it
                    self._noticed = False
                    continue
            self._hint.clear()
            try:
                await self.catch_up()
            except ControlRoomError as error:
                _log.warning("session %s cannot be followed: %s", self.session, error)
                if not error.retryable:
                    self.fault = error
                    self._wake()
                    return

    async def catch_up(self) -> None:
        """Show everything that is in the log by now."""
        async with self._reading:
            while True:
                events = await self._store.read(self.session, self.position, PAGE)
                for event in events:
                    self._show_event(Committed.of(event))
                if events:
                    self._wake()
                if len(events) < PAGE:
                    return

    def _show_event(self, event: Committed) -> None:
        self._show(event)
        for piece in self.pieces.apply(event):
            self._show(Piece((event.turn or "", event.step or ""), piece))
        self.position = event.position

    async def history(self, after: int) -> Sequence[Committed]:
        """Some of the events beyond `after` that were shown, in order; at least one."""
        known = [item for item in self._shown if isinstance(item, Committed)]
        if known and known[0].position <= after + 1:
            return [item for item in known if item.position > after]
        limit = min(PAGE, self.position - after)
        return [Committed.of(event) for event in await self._store.read(self.session, after, limit)]

    # --- pieces ----------------------------------------------------------------------------------

    async def watch_pieces(self) -> None:
        """Show pieces too, and have those of the open steps from their beginning."""
        watching = self._watching
        if watching is None or (watching.done() and watching.exception() is not None):
            watching = self._watching = self._spawn(self._watch_pieces())
        await asyncio.shield(watching)

    async def _watch_pieces(self) -> None:
        self._buffer = []
        subject = subjects.deltas(self.session)
        subscription = await self._bus.subscribe(subject, self._heard)
        try:
            # What was asked before is in the log now; what is asked later is heard whole.
            await self.catch_up()
            await self._refill(set(self.pieces.open))
        except BaseException:
            await subscription.unsubscribe()
            self._buffer = None
            raise
        self._subscriptions.append(subscription)

    def _heard(self, msg: Msg) -> None:
        piece = _addressed(msg.subject, msg.data)
        if self._buffer is not None:
            self._buffer.append(piece)
            return
        try:
            self._take(*piece)
        except Gap as gap:
            self._recover({gap.key}).append(piece)

    def _take(self, key: StepKey, attempt: int, data: bytes, *, gaps: bool = False) -> None:
        text = self.pieces.take(key, attempt, data, gaps=gaps)
        if text is not None:
            self._show(Piece(key, text))
            self._wake_for_piece()

    def _recover(self, keys: set[StepKey]) -> list[_Addressed]:
        """Read the pieces of these steps again; gives the buffer of what comes meanwhile."""
        if self._buffer is None:
            self._buffer = []
            self._spawn(self._refill(keys))
        return self._buffer

    async def _refill(self, keys: set[StepKey]) -> None:
        """Show the stored pieces of these steps, then what came meanwhile."""
        assert self._buffer is not None
        try:
            for left in reversed(range(RECOVERIES)):
                for subject, data in await stored_pieces(self._bus, self.session, sorted(keys)):
                    self._take(*_addressed(subject, data), gaps=True)
                try:
                    while self._buffer:
                        self._take(*self._buffer[0], gaps=not left)
                        del self._buffer[0]
                except Gap as gap:
                    keys = {gap.key}
                else:
                    return
        finally:
            self._buffer = None

    # --- what is shown ---------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The place behind everything that was shown."""
        return self._first + len(self._shown)

    def since(self, place: int) -> list[Shown] | None:
        """What was shown from `place` on, or None where that is not kept any more."""
        return self._shown[place - self._first :] if place >= self._first else None

    def _show(self, item: Shown) -> None:
        self._shown.append(item)
        self._weight += item.weight
        if len(self._shown) > MOST_SHOWN or self._weight > MOST_WEIGHT:
            dropped = (len(self._shown) + 1) // 2
            self._first += dropped
            del self._shown[:dropped]
            self._weight = sum(item.weight for item in self._shown)

    def _wake(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        self._woken = asyncio.get_running_loop().time()
        for watcher in self.watchers:
            watcher.set()

    def _wake_for_piece(self) -> None:
        """Wake the followers now, or soon where they were woken just before.

        Five answers come in pieces of their own, and each waking costs more than a piece.
        """
        if self._waking is None:
            loop = asyncio.get_running_loop()
            left = self._woken + GATHER - loop.time()
            if left <= 0:
                self._wake()
            else:
                self._waking = loop.call_later(left, self._wake)


def _addressed(subject: str, data: bytes) -> _Addressed:
    _, _, _, turn, step, attempt = subject.split(".")
    return (turn, step), int(attempt), data
