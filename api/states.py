"""The present state of sessions, folded from the log and kept up to date with it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from api.following import unknown_session
from events.envelope import Event
from events.session import Session
from events.store import EventStore

KEPT = 256  # sessions


class _Kept:
    """A folded session, and who may fold on."""

    def __init__(self, session: str) -> None:
        self.state = Session(session)
        self.lock = asyncio.Lock()


class SessionStates:
    """Folds sessions as they are asked for, and only what is new when they are asked for again."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, session: str) -> Session:
        """The session as of now; not to be changed. Raises a 404 `ProblemError` for an unknown one.

        It goes on changing with the next call: take from it what is needed before awaiting.
        """
        kept = self._kept.get(session)
        if kept is None:
            kept = self._kept[session] = _Kept(session)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(session)
        try:
            async with kept.lock:
                for event in await self._store.read(session, kept.state.position):
                    kept.state.apply(event)
            if kept.state.position == 0:
                raise unknown_session(session)
        except Exception:
            if self._kept.get(session) is kept:
                del self._kept[session]
            raise
        return kept.state

    async def turn_events(self, session: str, turn: str) -> list[Event]:
        """The events of a session from a turn's first to its last; empty for an unknown turn.

        What its calls cost that were called off is known after its end, and belongs to it.
        """
        state = await self.get(session)
        found = state.turns.get(turn)
        if found is None:
            return []
        first = found.queued_at or found.started_at or 1
        last = max(found.ended_at or 0, found.discarded_at or 0)
        limit = last - first + 1 if found.ended_at else None
        return await self._store.read(session, first - 1, limit)
