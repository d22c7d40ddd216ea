"""What watchers are shown: events, and pieces of answers between them, each serialised once."""

from __future__ import annotations

from functools import cached_property

import orjson

from events.cloudevents import to_cloudevent
from events.envelope import Event
from events.types import ModelAnswered, TurnQueued, TurnStarted


def event_json(event: Event, sequence: int | None = None) -> bytes:
    """An event as CloudEvents JSON."""
    return orjson.dumps(to_cloudevent(event, sequence))


class Committed:
    """An event, as every surface shows it."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.position = event.position

    @cached_property
    def json(self) -> str:
        """CloudEvents JSON."""
        return event_json(self.event).decode()

    @cached_property
    def frame(self) -> str:
        """What a WebSocket is sent: `{"type": "event", "position", "event": CloudEvents JSON}`."""
        return f'{{"type":"event","position":{self.position},"event":{self.json}}}'

    @cached_property
    def weight(self) -> int:
        """About how many characters it holds."""
        data = self.event.data
        texts: list[object] = []
        if isinstance(data, ModelAnswered):
            texts += [data.text, data.reasoning]
        elif isinstance(data, TurnStarted | TurnQueued) and data.message is not None:
            texts.append(data.message.content)
        return 1000 + 2 * sum(len(text) for text in texts if isinstance(text, str))


class Piece:
    """A piece of an answer: the very JSON that its model's actor published."""

    __slots__ = ("frame", "key")

    def __init__(self, key: tuple[str, str], frame: str) -> None:
        self.key = key
        self.frame = frame

    @property
    def weight(self) -> int:
        """How many characters it holds."""
        return len(self.frame)


Shown = Committed | Piece
