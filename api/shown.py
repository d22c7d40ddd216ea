"""What watchers are shown: events, and pieces of answers between them, each serialised once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from actors.notices import Noticed
from events.cloudevents import cloudevent_json
from events.envelope import Event


@dataclass(frozen=True)
class Committed:
    """An event, as every surface shows it: `json` is its CloudEvents JSON."""

    position: int
    type: str
    turn: str | None
    step: str | None
    json: str

    @classmethod
    def of(cls, event: Event) -> Committed:
        """The event as the log has it."""
        json = cloudevent_json(event).decode()
        return cls(event.position, event.type, event.turn, event.step, json)

    @classmethod
    def noticed(cls, event: Noticed) -> Committed:
        """The event as the notice of its commit carried it."""
        return cls(event.position, event.type, event.turn, event.step, event.json.decode())

    @cached_property
    def frame(self) -> str:
        """What a WebSocket is sent: `{"type": "event", "position", "event": CloudEvents JSON}`."""
        return f'{{"type":"event","position":{self.position},"event":{self.json}}}'

    @property
    def weight(self) -> int:
        """About how many characters it holds."""
        return 2 * len(self.json)


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
