"""The port to a provider of models. Every provider passes one contract suite."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from events.prices import Prices
from events.values import Parameters, ToolCall, Usage

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that belongs to a message."""

    media_type: str
    data: bytes

    @property
    def base64(self) -> str:
        """Its content as text."""
        return b64encode(self.data).decode()

    @property
    def url(self) -> str:
        """The address that holds its content."""
        return f"data:{self.media_type};base64,{self.base64}"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a request, in the form that chat models share.

    What a tool returned names the call, and says whether it `is_error`. `carried` is the JSON that
    the same model gave with its answer, as `Finished.carried`. A `name` tells who among several of
    that role speaks; it comes to providers that take names, elsewhere it is part of the content.
    """

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    carried: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool offered to the model; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked.

    `role` is the participant's; `purpose` says what the answer is for (answer, plan, vote,
    synthesis, ...). `chat_template` is the participant's own, in Jinja2, where it has one. With
    `tool_choice` "none" the tools are there for what was called before, and shall not be called;
    with "required" one of them has to be called.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    parameters: Parameters = field(default_factory=Parameters)
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["none", "required"] | None = None
    role: str | None = None
    purpose: str = "answer"
    chat_template: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it comes: at least one character of `channel`."""

    channel: Literal["text", "reasoning"]
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer; every complete stream ends with exactly one.

    `usage` is None where the provider did not say. `notes` name what it ignored or changed.
    `carried` is JSON of the provider's own that it wants back where calls of tools are answered,
    such as signed thinking.
    """

    finish_reason: str
    usage: Usage | None = None
    usage_raw: dict[str, Any] | None = None
    served_model: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    notes: tuple[str, ...] = ()
    carried: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do, as far as its provider tells: a fact of every turn it takes part in."""

    structured_output: bool = False
    tools: bool = False
    images: bool = False
    chat_template: bool = False
    context_length: int | None = None
    max_tokens: bool = True
    """Whether the server is told how long an answer may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the actor of a model keeps to.

    Calls at once, how often it asks for one answer, how many calls wait for their turn, after how
    many failures in a row it asks no more, and for how many seconds.
    """

    max_concurrency: int = 64
    tries: int = 3
    max_queue: int = 1000
    breaker_failures: int = 5
    breaker_pause: float = 30.0


class Provider(Protocol):
    """One configured provider: a connection pool shared by all calls of the process.

    Every failure is raised as a `ProviderError`; no other exception leaves a provider except
    `asyncio.CancelledError`. Cancelling the task that iterates `stream` closes the connection, so
    that the server stops too. A provider never retries: its actor does.
    """

    @property
    def limits(self) -> Limits:
        """What is configured for each model of this provider."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        """Ask, and yield the answer's pieces as they come, then one `Finished`.

        A stream that ends before its finish raises `BadResponse`.
        """
        ...

    async def models(self) -> tuple[str, ...]:
        """Names of the models to be had; empty where the provider does not tell."""
        ...

    def capabilities(self, model: str) -> Capabilities:
        """What `model` can do; answers at once, without asking the server."""
        ...

    def prices(self, model: str) -> Prices | None:
        """What `model` costs now, by a named table; None where that is not known."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
