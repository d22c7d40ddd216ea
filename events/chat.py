"""A conversation as chat models take it: as it travels, and as a client brings it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter

from events.values import Attachment, Text, ToolCall, Value

LONGEST_NAME = 256


def named(name: str | None, text: str) -> str:
    """The text with who says it before it."""
    return f"{name}: {text}" if name and text else text


class WireMessage(Value):
    """One message of a request; a tool's result names the call that it answers.

    `carried` is what the model's provider wants back with the calls of that answer, `name` who
    among several of that role speaks, where a client says so.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: Text
    images: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    carried: Text | None = None
    name: Annotated[str, Field(max_length=LONGEST_NAME)] | None = None


_CONVERSATION: TypeAdapter[tuple[WireMessage, ...]] = TypeAdapter(tuple[WireMessage, ...])


def written(messages: Iterable[WireMessage]) -> bytes:
    """The JSON list of the messages, such as `Message.given` refers to.

    Every field of a message is written out, by which a budget knows how many messages there can be
    in so many bytes; but no name where there is none, as in lists of old.
    """
    return orjson.dumps([_written(one) for one in messages])


def _written(one: WireMessage) -> dict[str, Any]:
    left_out = {"name"} if one.name is None else set()
    return one.model_dump(mode="json", exclude=left_out)


def read(content: str | bytes) -> tuple[WireMessage, ...]:
    """The messages of such a list; raises `pydantic.ValidationError` where it is none."""
    return _CONVERSATION.validate_json(content)
