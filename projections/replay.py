"""Replay: runs every turn of a session again and proves that the log is what follows from it.

The inputs are copied, every derived event is made again by the session machine, and both are
compared. Nothing is contacted but the store and the blobs beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pydantic import Field

from actors import scripts as operators
from actors.deciding import NotFound
from actors.routing.batch import Given
from actors.routing.machine import Scripts, SessionMachine
from actors.routing.registry import Route
from events.canonical import HeadChain, canonical
from events.envelope import Event
from events.errors import ConfigError, Refused, StoreError, UnknownEvent
from events.store import BlobStore, EventStore
from events.types import Input
from events.values import Blob, Value


class Divergence(Value):
    """The first place where replay and log differ.

    `expected` is the log's event and `actual` the one that replay made, both as JSON; None where
    there is none.
    """

    position: int
    message: str
    expected: dict[str, Any] | None
    actual: dict[str, Any] | None


class Replay(Value):
    """What came of a replay.

    `head` is a SHA-256 chain over the canonical JSON of the events, computed over the log and over
    what replay made: both have this head after the last event that agrees, which is the log's last
    where the replay is `identical`.
    """

    session: str
    identical: bool
    events: int = Field(description="in the log")
    derived: int = Field(description="made again and found equal")
    head: str
    divergence: Divergence | None = None


def verify(
    events: Sequence[Event], load: Callable[[Blob], str], scripts: Scripts | None = None
) -> Replay:
    """Replay `events`, a whole session from its first event on.

    `load` reads long texts and facts; `scripts` gives operators' own routers from their recorded
    source. Whatever is wrong with the log is a divergence at its position.

    Raises what says something of this process and nothing of the log: `StoreError` where a blob
    cannot be read, `UnknownEvent` for a turn of another release, `ConfigError` for a script without
    `scripts`.
    """
    session = events[0].stream if events else ""
    machine = SessionMachine(session, load, scripts)
    comparison = _Comparison(events)
    found = None
    while found is None and comparison.at < len(events):
        found = comparison.advance(machine)
    log_head, made_head = comparison.heads
    return Replay(
        session=session,
        identical=found is None and log_head == made_head,
        events=len(events),
        derived=comparison.derived,
        head=log_head,
        divergence=found,
    )


async def replay(
    store: EventStore, blobs: BlobStore, session: str, scripts: Scripts | None = None
) -> Replay:
    """Replay a stored session; runs in a thread, so that the event loop goes on.

    Scripts run from the source that the log names. Raises `NotFound` for an unknown session,
    `Tampered` with the position where the log cannot be read, and what `verify` raises.
    """
    events = await store.read(session)
    if not events:
        raise NotFound(f"there is no session {session!r}")

    def load(blob: Blob) -> str:
        return blobs.get(blob).decode("utf-8", "surrogatepass")

    def recorded(blob: Blob, entry: str) -> Route:
        return operators.load(blobs.get(blob), entry)

    return await asyncio.to_thread(verify, events, load, scripts or recorded)


class _Comparison:
    """The log beside what replay makes, event by event, with a head over each."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._log, self._made = HeadChain(), HeadChain()
        self.at = 0
        self.derived = 0

    def advance(self, machine: SessionMachine) -> Divergence | None:
        """Give the machine the log's next input, and compare what it makes of it."""
        event = self._events[self.at]
        if not isinstance(event.data, Input):
            message = f"nothing before it leads to this {event.type}"
            return _divergence(event.position, message, event, None)
        try:
            made = machine.advance(Given.of(event), event.at)
        except UnknownEvent as error:
            raise UnknownEvent(f"{event.stream} at position {event.position}: {error}") from error
        except Exception as error:
            if isinstance(error, ConfigError | StoreError) and not isinstance(error, Refused):
                raise  # says something of this process, nothing of the log
            what = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            message = f"no {event.type} can come here: {what}"
            return _divergence(event.position, message, event, None)
        return self._compare(made)

    def _compare(self, made: Sequence[Event]) -> Divergence | None:
        for event in made:
            if self.at == len(self._events):
                message = f"the log ends before this {event.type}"
                return _divergence(event.position, message, None, event)
            old = self._events[self.at]
            text = canonical(old)
            other = text if _same(old, event) else canonical(event)
            if text != other:
                message = f"replay made another {old.type}"
                if old.type != event.type:
                    message = f"the log holds {old.type}, replay made {event.type}"
                return _divergence(event.position, message, old, event)
            self._log.add_canonical(text)
            self._made.add_canonical(other)
            self.derived += not isinstance(old.data, Input)
            self.at += 1
        return None

    @property
    def heads(self) -> tuple[str, str]:
        """The head of the log and that of what replay made."""
        return self._log.hexdigest(), self._made.hexdigest()


def _same(old: Event, event: Event) -> bool:
    """Whether two events certainly have the same canonical form, found without making it."""
    if (
        old.stream != event.stream
        or old.position != event.position
        or old.at != event.at
        or old.by != event.by
        or old.command != event.command
        or old.turn != event.turn
        or old.step != event.step
        or old.cause != event.cause
    ):
        return False
    data, other = old.data, event.data
    if data is other:  # an input's payload is handed through
        return True
    # Stricter than equality, for which 1, 1.0 and True are one.
    return type(data) is type(other) and (
        data.__pydantic_serializer__.to_json(data) == other.__pydantic_serializer__.to_json(other)
    )


def _divergence(
    position: int, message: str, expected: Event | None, actual: Event | None
) -> Divergence:
    return Divergence(
        position=position, message=message, expected=_json(expected), actual=_json(actual)
    )


def _json(event: Event | None) -> dict[str, Any] | None:
    tree: dict[str, Any] | None = None if event is None else orjson.loads(canonical(event))
    return tree
