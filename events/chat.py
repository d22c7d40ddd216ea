"""A conversation as chat models take it: as it travels, and as a client brings it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import orjson
from pydantic import TypeAdapter

from events.values import Attachment, Text, ToolCall, Value


class WireMessage(Value):
    """One message of a request; a tool's result names the call that it answers.

    `carried` is what the model's provider wants back with the calls of that answer.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: Text
    images: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    carried: Text | None = None


_CONVERSATION: TypeAdapter[tuple[WireMessage, ...]] = TypeAdapter(tuple[WireMessage, ...])


def written(messages: Iterable[WireMessage]) -> bytes:
    """The JSON list of the messages, such as `Message.given` refers to.

    Every field of a message is written out, by which a budget knows how many messages there can be
    in so many bytes.
    """
    return orjson.dumps([one.model_dump(mode="json") for one in messages])


def read(content: str | bytes) -> tuple[WireMessage, ...]:
    """The messages of such a list; raises `pydantic.ValidationError` where it is none."""
    return _CONVERSATION.validate_json(content)
