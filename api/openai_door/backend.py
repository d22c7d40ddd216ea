"""Who answers at the door: the seam behind which sessions, and runs of workflows, stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from api.openai_door.bringing import Brought
from events.values import ToolCall, Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Card:
    """A name that a request can give as its model. `created` is in seconds since 1970."""

    id: str
    owned_by: str
    created: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """The next piece of the answer, or of what led to it."""

    channel: Literal["content", "reasoning"]
    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer.

    `tool_calls` are the client's to make. `answers` are what the participants said, as JSON.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    answers: tuple[dict[str, Any], ...] = ()
    place: dict[str, str] = field(default_factory=dict)
    """Where all of it can be read: session and turn."""


class Answering(Protocol):
    """A call that is under way."""

    @property
    def id(self) -> str:
        """Of the completion."""
        ...

    def pieces(self) -> AsyncIterator[Said | Completion]:
        """What is said as it is said, and at last the whole.

        The pieces of channel `content` put together are the answer; where several answered, in the
        order in which they spoke.
        Raises a `DoorError` or a `ProblemError` where there is no answer.
        """
        ...

    async def completion(self) -> Completion:
        """The whole, without pieces; raises likewise."""
        ...

    async def cancel(self) -> None:
        """Nobody waits for it any more: call it off, down to the provider."""
        ...


class Backend(Protocol):
    """Whom a token lets a client speak with."""

    async def cards(self) -> tuple[Card, ...]:
        """What can be asked."""
        ...

    async def card(self, name: str) -> Card:
        """One of them, whether it is listed or not; raises a 404 `DoorError` for none."""
        ...

    def answering(
        self, brought: Brought, key: str | None, *, pieces: bool
    ) -> AbstractAsyncContextManager[Answering]:
        """Begin a call: committed when it is entered. The same `key` again is the same call.

        With `pieces`, they can be had.
        """
        ...
