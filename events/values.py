"""Small values that several events share."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SPILL = 64 * 1024
"""Longest text in UTF-8 bytes that an event carries itself; longer ones are blobs."""

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""What may stand in a subject, a stream name or a step key as it is."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, lower-case hexadecimal."""


class Value(BaseModel):
    """Base of all values: immutable, and closed against unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Blob(Value):
    """A reference to content that lies beside the store under its SHA-256."""

    sha256: Digest
    size: int = Field(ge=0)
    media_type: str = "text/plain; charset=utf-8"

    @classmethod
    def of(cls, content: bytes, media_type: str = "text/plain; charset=utf-8") -> Blob:
        """The reference of `content`; does not store it."""
        return cls(sha256=sha256(content).hexdigest(), size=len(content), media_type=media_type)


Text = str | Blob
"""A text, or the reference of one longer than `SPILL` bytes."""

FileName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]{0,255}$")]
"""What a file is called, in one line."""


class Attachment(Blob):
    """A file that belongs to a message: an image, or a text in UTF-8."""

    name: FileName = ""

    @property
    def is_image(self) -> bool:
        """Whether a model is shown a picture; else it is shown a text."""
        return self.media_type.startswith("image/")


class Usage(Value):
    """Tokens of one call, normalised: the five parts are disjoint and add up to what is billed."""

    input: int = Field(default=0, ge=0)
    cache_read: int = Field(default=0, ge=0)
    cache_write: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            estimated=self.estimated or other.estimated,
        )


class ToolCall(Value):
    """A call that a model asks for; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class Message(Value):
    """What a person posted: text and attachments by content hash.

    Where a client brings a whole conversation, `given` is that, the JSON list of its messages, and
    `content` the last thing that was said in it; `tools` are the client's own, which it calls
    itself: a JSON list of name, description, parameters. With `tool_choice` "required", one of
    these is to be called, and no text to be said.
    """

    content: Text
    attachments: tuple[Attachment, ...] = ()
    given: Blob | None = None
    tools: Blob | None = None
    tool_choice: Literal["required"] | None = None


class Cost(Value):
    """Money of one call in US dollars, and the name of the price table it was computed with."""

    amount: Decimal
    prices: str


class ContextRule(Value):
    """Which part of the conversation a step was shown; enough to build it again from the log.

    Only entries at positions up to `upto` count, so nothing that lands later leaks in.
    """

    mode: Literal["shared", "isolated", "none"] = "shared"
    window: int | None = Field(default=None, ge=1, description="last so many entries")
    upto: int = Field(ge=0)
    exclude: tuple[str, ...] = Field(default=(), description="step keys of the turn left out")
    skip: int = Field(default=0, ge=0, description="so many of the oldest are left out besides")


class Parameters(Value):
    """What the model is asked with, besides the messages."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema_: dict[str, Any] | None = Field(
        default=None, alias="schema", description="JSON schema that the answer shall follow"
    )
    extra: dict[str, Any] = Field(default_factory=dict)

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


class Semantics(Value):
    """Versions of the code that decided a turn; replay uses the same ones for ever."""

    engine: int = 1
    router: int = 1
    context: int = 1
    parsers: int = 1
    script: Blob | None = Field(default=None, description="source of an operator's own router")
