"""What is said after a commit: how far the stream is now, and, where they are short, the events.

A notice is a line of JSON, followed by one line for each event: its CloudEvents JSON. It is a hint,
which may be lost; whoever misses one reads the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from events.cloudevents import cloudevent_json
from events.envelope import Event

LONGEST = 64 * 1024
"""Bytes of events that a notice carries; longer ones are read from the log."""


class Noticed(NamedTuple):
    """An event as a notice carries it; `json` is its CloudEvents JSON."""

    position: int
    type: str
    turn: str | None
    step: str | None
    json: bytes


class Notice(NamedTuple):
    """The stream has events up to `position`; `events`, if any, are the last of them."""

    position: int
    events: tuple[Noticed, ...]


def write_notice(events: Sequence[Event]) -> bytes:
    """The notice of a commit of `events`."""
    head: dict[str, object] = {"stream": events[0].stream, "position": events[-1].position}
    lines = [cloudevent_json(event) for event in events]
    if sum(map(len, lines)) > LONGEST:
        return orjson.dumps(head)
    head["events"] = [(event.type, event.turn, event.step) for event in events]
    return b"\n".join((orjson.dumps(head), *lines))


def read_notice(data: bytes) -> Notice:
    """What `write_notice` wrote."""
    head, *lines = data.split(b"\n")
    said = orjson.loads(head)
    position = said["position"]
    places = range(position - len(lines) + 1, position + 1)
    return Notice(
        position,
        tuple(
            Noticed(place, kind, turn, step, line)
            for place, (kind, turn, step), line in zip(
                places, said.get("events", ()), lines, strict=True
            )
        ),
    )
