"""How the server of one type of provider speaks: what the suite for all providers is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, get_args

from actors.providers.port import Image, Tool
from events.values import ToolCall, Usage

MODEL = "a-model"
SERVED = "served-model"
PROMPT, COMPLETION = 10, 5
"""Tokens that every complete answer reports."""
KEY = "marked-secret-5f3b9c"
PICTURE = Image("image/png", b"\x89PNG\r\n\x1a\n0000")

Feature = Literal[
    "stream", "whole", "usage", "length", "reasoning", "tools", "schema", "images", "seed", "stop"
]
"""What not every type has: answers in pieces, answers all at once, a count of tokens, an end that
tells of its length, and so on."""
FEATURES: Final[tuple[Feature, ...]] = get_args(Feature)
EVERYTHING: Final[Mapping[Feature, str]] = {}
"""Nothing is lacking."""


@dataclass(frozen=True)
class Sent:
    """What a request said, read back from its body by the dialect."""

    model: str | None
    texts: tuple[tuple[str, str], ...]
    """Role and text of each message; the system prompt is the first, whatever its place."""
    stream: bool
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    schema: Any = None
    images: int = 0


@dataclass(frozen=True)
class Round:
    """What a request says of the calls of one answer: each tool with its arguments, each result."""

    text: str
    calls: tuple[tuple[str, Any], ...]
    results: tuple[str, ...]


class Dialect(Protocol):
    """Writes a vendor's answers and reads its requests.

    Where a type has several dialects, each has a `name` of its own as well. A dialect that is
    spoken to participants who bring a `chat_template` of their own has that.
    """

    type: str
    """Of the provider, in its configuration."""
    content_type: str
    """Of a streamed answer."""
    lacks: Mapping[Feature, str]
    """What is not to be had, and why: the cases of the suite about that are not for it.

    Stop sequences that a server does not know are kept by the provider all the same.
    """

    def config(self, url: str) -> dict[str, Any]:
        """The provider's configuration for a server at that address, `${KEY}` being its key."""
        ...

    def pages(self) -> dict[str, Any]:
        """What the server answers to other requests, the list with `MODEL` among them."""
        ...

    def piece(self, text: str) -> bytes:
        """A streamed piece of the answer."""
        ...

    def thought(self, text: str) -> bytes:
        """A streamed piece of the reasoning."""
        ...

    def calls(self, *calls: ToolCall) -> list[bytes]:
        """What asks for these calls, without the end."""
        ...

    def begin(self) -> list[bytes]:
        """What stands before the first piece."""
        ...

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        """A complete end; `finish` is `stop`, `length` or `tool_calls`.

        The default usage is `PROMPT` and `COMPLETION`.
        """
        ...

    def body(self, text: str) -> bytes:
        """The whole answer in one body, as it comes where nothing was to be streamed."""
        ...

    def failure(self, status: int, message: str) -> bytes:
        """The body of a refusal with that status."""
        ...

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        """What a request said."""
        ...

    def authorised(self, headers: dict[str, str]) -> bool:
        """Whether a request carries `KEY` as the vendor wants it, or needs none."""
        ...

    def tool_of(self, body: dict[str, Any]) -> Tool:
        """The first tool that the request offers."""
        ...

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        """The calls that the request tells of, in the vendor's documented form.

        Fails where a result does not follow the call that it names, or one is missing.
        """
        ...

    def may_call(self, body: dict[str, Any]) -> bool:
        """Whether the answer may ask for calls."""
        ...


def name_of(dialect: Dialect) -> str:
    """How the dialect is called."""
    return str(getattr(dialect, "name", dialect.type))


def has(dialect: Dialect, feature: Feature) -> bool:
    """Whether it has that."""
    return feature not in dialect.lacks


def chosen(options: Mapping[str, Any], *, limit: str, stop: str = "stop") -> dict[str, Any]:
    """The parameters of `Sent` that stand there; `limit` and `stop` are the vendor's names."""
    return {
        "temperature": options.get("temperature"),
        "max_tokens": options.get(limit),
        "seed": options.get("seed"),
        "stop": tuple(options.get(stop) or ()),
    }
