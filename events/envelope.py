"""The envelope that every event travels in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from events.types import Payload

NAMESPACE = UUID("6f9d3c1e-2a57-5b0e-9f3d-1c6f0d8a4b21")
"""Event ids are UUIDv5 of `<stream>/<position>` in this namespace: replay gives the same ids."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at its place in its stream.

    `position` counts from 1 without gaps within `stream`. `at` is UTC and for people only: order is
    position. `by` is the principal, `command` the id of the command that caused it, `turn` and
    `step` say what it belongs to, `cause` is the position of the event that it follows from.
    """

    stream: str
    position: int
    at: datetime
    by: str
    data: Payload
    command: str | None = None
    turn: str | None = None
    step: str | None = None
    cause: int | None = None

    @property
    def id(self) -> UUID:
        """UUIDv5 of stream and position."""
        return uuid5(NAMESPACE, f"{self.stream}/{self.position}")

    @property
    def type(self) -> str:
        """The type name, such as `model.answered`."""
        return self.data.type

    @property
    def version(self) -> int:
        """The version of the payload's form."""
        return self.data.version


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event together with its place in the store's own order.

    `sequence` is strictly increasing over all streams in commit order; it may have gaps.
    """

    sequence: int
    event: Event


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a stream: its position and hash, and the turn that is open, if any."""

    stream: str
    position: int
    hash: bytes
    open_turn: str | None


def now() -> datetime:
    """The present time as events carry it."""
    return datetime.now(UTC)


def turn_after(open_turn: str | None, batch: Sequence[Event]) -> str | None:
    """The turn that is open after `batch`, given the one open before it."""
    for event in batch:
        open_turn = open_after(open_turn, event.data.type, event.turn)
    return open_turn


def open_after(open_turn: str | None, type_name: str, turn: str | None) -> str | None:
    """The turn that is open after one event of that type and turn."""
    match type_name:
        case "turn.started":
            return turn
        case "turn.completed" | "turn.failed":
            return None
        case "turn.cancelled" if turn == open_turn:
            return None
        case _:
            return open_turn
