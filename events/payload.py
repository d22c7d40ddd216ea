"""What every event's payload is: of one type and version, and an input or derived."""

from __future__ import annotations

from typing import ClassVar, Literal

from events.values import Value

Kind = Literal["input", "derived"]


class Payload(Value):
    """What an event says; the envelope around it is `events.envelope.Event`."""

    type: ClassVar[str]
    version: ClassVar[int] = 1
    kind: ClassVar[Kind]


class Input(Payload):
    """Comes from outside: replay copies it."""

    kind: ClassVar[Kind] = "input"


class Derived(Payload):
    """Follows from the inputs: replay makes it again and compares."""

    kind: ClassVar[Kind] = "derived"
