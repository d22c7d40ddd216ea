"""Followers of sessions, and the feeds that they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from actors.bus import Bus
from api.delta_stream import ensure_stream
from api.feed import Feed
from api.pieces import StepKey
from api.problems import CURSOR, ProblemError
from api.shown import Committed, Piece, Shown
from events.store import EventStore

LINGER = 30.0  # seconds that a feed stays without a follower, for the one who comes back


def wrong_cursor(after: object, last: int) -> ProblemError:
    """The problem with a cursor beyond the last event."""
    return ProblemError(
        "invalid", f"after: {after!s:.40} is beyond the last event, which is {last}; {CURSOR}"
    )


def unknown_session(session: str) -> ProblemError:
    """The problem with a session that does not exist."""
    return ProblemError(
        "not-found",
        f"there is no session {session!r}: create it with POST /v1/sessions, or list those that "
        "exist with GET /v1/sessions",
    )


class Follower:
    """One watcher's place in a feed: every event beyond `sent`, each once and in order.

    With `pieces`, those of the steps that are open come too: whole, from their first character,
    unless this watcher is too slow for them.
    """

    def __init__(self, feed: Feed, after: int, *, pieces: bool) -> None:
        self.sent = after
        self._feed = feed
        self._pieces = pieces
        self._place: int | None = None
        self._muted: set[StepKey] = set()
        self._grown = asyncio.Event()

    async def next(self) -> Sequence[Shown]:
        """What comes next, as much as there is and at least one item, however long it takes."""
        feed = self._feed
        while True:
            shown: Sequence[Shown]
            if self._place is None:
                shown = await self._history() if self.sent < feed.position else self._join()
            elif (since := feed.since(self._place)) is None:
                self._fall_behind()
                continue
            else:
                self._place += len(since)
                shown = self._wanted(since)
            if shown:
                return shown
            if feed.fault is not None:
                raise feed.fault
            if self._place is not None:
                await self._grown.wait()
                self._grown.clear()

    def start(self) -> None:
        """Be woken from now on."""
        self._feed.watchers.add(self._grown)

    def stop(self) -> None:
        """Be woken no longer."""
        self._feed.watchers.discard(self._grown)

    async def _history(self) -> Sequence[Shown]:
        events = await self._feed.history(self.sent)
        if events:
            self.sent = events[-1].position
        return events

    def _join(self) -> Sequence[Shown]:
        """Take a place at the end; what the open steps have said so far comes first."""
        self._place = self._feed.end
        shown: list[Shown] = []
        if self._pieces:
            for key, step in self._feed.pieces.open.items():
                if step.pieces is None:
                    self._muted.add(key)
                elif key not in self._muted:
                    shown += [Piece(key, text) for text in step.pieces]
        return shown

    def _fall_behind(self) -> None:
        """Read the log instead; of steps that this watcher knows of, show no more pieces."""
        self._place = None
        now_open = self._feed.pieces.open
        self._muted &= now_open.keys()
        self._muted |= {key for key, step in now_open.items() if step.asked_at <= self.sent}

    def _wanted(self, shown: Sequence[Shown]) -> Sequence[Shown]:
        wanted = [
            item
            for item in shown
            if isinstance(item, Committed) or (self._pieces and item.key not in self._muted)
        ]
        for item in reversed(wanted):
            if isinstance(item, Committed):
                self.sent = item.position
                break
        return wanted


@dataclass(slots=True)
class _Use:
    """A feed, and who uses it."""

    feed: Feed
    started: asyncio.Task[None]
    users: int = 0
    ending: asyncio.TimerHandle | None = None


class Feeds:
    """The feeds of all sessions that are watched through this process."""

    def __init__(self, bus: Bus, store: EventStore, *, linger: float = LINGER) -> None:
        self._bus = bus
        self._store = store
        self._linger = linger
        self._uses: dict[str, _Use] = {}
        self._streamed = False
        self._tasks: set[asyncio.Task[None]] = set()
        bus.on_reconnect(self._reconnected)

    async def start(self) -> None:
        """Have pieces of answers kept from now on, for those who come later."""
        if not self._streamed:
            self._streamed = await ensure_stream(self._bus)

    async def close(self) -> None:
        """Stop all feeds; followers get nothing more."""
        for session in tuple(self._uses):
            self._end(session)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def follow(
        self, session: str, after: int | None, *, pieces: bool = False, once: bool = False
    ) -> AsyncIterator[Follower]:
        """A follower of `session` from the cursor `after` on, or from now on (None).

        `once` says that nobody is expected to come back to the session soon.
        Raises a `ProblemError` where there is no such session or no such position yet.
        """
        async with self._use(session, 0.0 if once else self._linger) as feed:
            if after is None:
                after = feed.position
            if after > feed.position:
                await feed.catch_up()
            if after > feed.position:
                raise wrong_cursor(after, feed.position)
            if pieces:
                await self.start()
                await feed.watch_pieces()
            follower = Follower(feed, after, pieces=pieces)
            follower.start()
            try:
                yield follower
            finally:
                follower.stop()

    @asynccontextmanager
    async def _use(self, session: str, linger: float) -> AsyncIterator[Feed]:
        use = self._uses.get(session)
        if use is not None and use.feed.fault is not None:
            self._end(session)
            use = None
        if use is None:
            feed = Feed(session, self._bus, self._store)
            use = self._uses[session] = _Use(feed, self._spawn(self._open(feed)))
        if use.ending is not None:
            use.ending.cancel()
            use.ending = None
        use.users += 1
        try:
            await asyncio.shield(use.started)
            yield use.feed
        except BaseException:
            if use.started.done() and _failed(use.started) and self._uses.get(session) is use:
                del self._uses[session]
            raise
        finally:
            use.users -= 1
            if not use.users and self._uses.get(session) is use:
                loop = asyncio.get_running_loop()
                use.ending = loop.call_later(linger, self._end, session)

    async def _open(self, feed: Feed) -> None:
        head = await self._store.head(feed.session)
        if head is None:
            raise unknown_session(feed.session)
        try:
            await feed.start(head)
        except BaseException:
            await feed.stop()
            raise

    def _end(self, session: str) -> None:
        use = self._uses.pop(session)
        if use.ending is not None:
            use.ending.cancel()
        self._spawn(use.feed.stop())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _reconnected(self) -> None:
        self._spawn(self._begin_again())

    async def _begin_again(self) -> None:
        """What was published while NATS was away is known to nobody but the log."""
        self._streamed = False  # a server that was started again has forgotten its memory
        await self.start()
        for use in tuple(self._uses.values()):
            use.feed.reconnected()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
