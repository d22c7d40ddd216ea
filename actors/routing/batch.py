"""The events of one input, numbered and folded as they are made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from events.envelope import Event
from events.errors import ReplayDiverged
from events.session import Session
from events.types import Derived, Input


class Given(NamedTuple):
    """An input on its way in: the payload and what its envelope will say."""

    data: Input
    by: str
    command: str | None = None
    turn: str | None = None
    step: str | None = None
    cause: int | None = None

    @classmethod
    def of(cls, event: Event) -> Given:
        """The input that a recorded event was."""
        data = event.data
        if not isinstance(data, Input):
            raise ReplayDiverged(event.position, event.type, "nothing")
        return cls(data, event.by, event.command, event.turn, event.step, event.cause)


class Batch:
    """An input's event and all that follow from it; they share its time and name it as cause."""

    def __init__(self, session: Session, given: Given, at: datetime) -> None:
        self.events: list[Event] = []
        self._session = session
        self._at = at
        self._cause = session.position + 1
        self._append(
            Event(
                session.stream,
                self._cause,
                at,
                given.by,
                given.data,
                given.command,
                given.turn,
                given.step,
                given.cause,
            )
        )

    def add(self, data: Derived, turn: str, step: str | None = None) -> None:
        """Make a derived event and fold it."""
        position = self._session.position + 1
        self._append(
            Event(
                self._session.stream,
                position,
                self._at,
                "router",
                data,
                turn=turn,
                step=step,
                cause=self._cause,
            )
        )

    def _append(self, event: Event) -> None:
        self._session.apply(event)
        self.events.append(event)


def compare(recorded: Sequence[Event], made: Sequence[Event]) -> None:
    """Raise `ReplayDiverged` at the first event of `made` that the log does not hold."""
    for index, event in enumerate(made):
        old = recorded[index] if index < len(recorded) else "the end of the log"
        if old != event:
            raise ReplayDiverged(event.position, old, event)
