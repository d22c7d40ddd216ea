"""The present state of sessions, folded from the log and kept up to date with it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from api.following import unknown_session
from events.envelope import Event
from events.session import Session
from events.store import EventStore

KEPT = 256  # sessions


class SessionStates:
    """Folds sessions as they are asked for, and only what is new when they are asked for again."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._states: OrderedDict[str, Session] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, session: str) -> Session:
        """The session as of now; not to be changed. Raises a 404 `ProblemError` for an unknown one.

        It goes on changing with the next call: take from it what is needed before awaiting.
        """
        lock = self._locks.setdefault(session, asyncio.Lock())
        try:
            async with lock:
                state = self._states.get(session) or Session(session)
                for event in await self._store.read(session, state.position):
                    state.apply(event)
                if state.position == 0:
                    raise unknown_session(session)
                self._keep(session, state)
                return state
        finally:
            if not lock.locked():
                self._locks.pop(session, None)

    async def turn_events(self, session: str, turn: str) -> list[Event]:
        """The events of a session from a turn's first to its last; empty for an unknown turn."""
        state = await self.get(session)
        found = state.turns.get(turn)
        if found is None:
            return []
        first = found.queued_at or found.started_at or 1
        limit = found.ended_at - first + 1 if found.ended_at else None
        return await self._store.read(session, first - 1, limit)

    def _keep(self, session: str, state: Session) -> None:
        self._states[session] = state
        self._states.move_to_end(session)
        while len(self._states) > KEPT:
            self._states.popitem(last=False)
