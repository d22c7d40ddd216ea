"""Conversations in the form of chat completions, and what goes back with calls of tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from actors.providers.port import ChatMessage, Image, Tool
from events.values import ToolCall

LONGEST_DETAILS = 4 * 1024 * 1024  # characters of reasoning that goes back as it came
RETURNED = "The pictures that the tools returned:"
"""What stands before pictures of tools, which have no place in a result."""


def messages_of(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The conversation. Pictures of tools follow the results, as a message of the user."""
    said: list[dict[str, Any]] = []
    waiting: tuple[Image, ...] = ()
    for message in messages:
        if waiting and message.role != "tool":
            said.append({"role": "user", "content": _with_pictures(RETURNED, waiting)})
            waiting = ()
        if message.role == "tool":
            waiting += message.images
        said.append(message_of(message))
    if waiting:
        said.append({"role": "user", "content": _with_pictures(RETURNED, waiting)})
    return said


def message_of(message: ChatMessage) -> dict[str, Any]:
    """A message in the form of the API."""
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        said["name"] = message.name
    if message.images and message.role != "tool":
        said["content"] = _with_pictures(message.content, message.images)
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        _give_back(said, message.carried)
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def tool_of(tool: Tool) -> dict[str, Any]:
    """The tool in the form that most servers and templates take."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def _with_pictures(text: str, images: tuple[Image, ...]) -> list[dict[str, Any]]:
    pictures = ({"type": "image_url", "image_url": {"url": each.url}} for each in images)
    return [{"type": "text", "text": text}, *pictures]


def _give_back(said: dict[str, Any], carried: str | None) -> None:
    """Add what the model gave with its calls, as `Carried` wrote it down."""
    if carried is None:
        return
    kept = orjson.loads(carried)
    if not isinstance(kept, dict):  # of the API that the provider had before
        return
    for key in ("reasoning_content", "reasoning_details"):
        if key in kept:
            said[key] = kept[key]
    for call, extra in zip(said["tool_calls"], kept.get("extra_content", ()), strict=False):
        if extra is not None:
            call["extra_content"] = extra


class Carried:
    """What some servers want back with the calls of an answer.

    The reasoning (DeepSeek, Kimi), its details, which may be signed or encrypted (OpenRouter), and
    signatures beside the calls (Gemini).
    """

    def __init__(self) -> None:
        self._reasoning: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._size = 0

    def take(self, delta: dict[str, Any]) -> None:
        """Take the next piece of an answer; `ValueError` where they are too long together."""
        if isinstance(text := delta.get("reasoning_content"), str):
            self._reasoning.append(text)
        details = delta.get("reasoning_details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                self._size += sum(len(str(value)) for value in detail.values())
                self._add({**detail})
        if self._size > LONGEST_DETAILS:
            raise ValueError

    def _add(self, detail: dict[str, Any]) -> None:
        """Details come in pieces: texts of one index are one text."""
        last = self._details[-1] if self._details else {}
        same = all(last.get(key) == detail.get(key) for key in ("type", "index"))
        texts = [key for key in ("text", "summary") if isinstance(detail.get(key), str)]
        if not (self._details and same and texts):
            self._details.append(detail)
            return
        for key, value in detail.items():
            if key in texts:
                last[key] = (last.get(key) or "") + value
            elif value is not None:
                last[key] = value

    def complete(self, calls: tuple[ToolCall, ...], extra: list[Any]) -> str | None:
        """All of it as JSON, with what stood beside each call.

        None where there is nothing, or no call that it belongs to.
        """
        kept: dict[str, Any] = {}
        if self._details:
            kept["reasoning_details"] = self._details
        elif self._reasoning:
            kept["reasoning_content"] = "".join(self._reasoning)
        if extra:
            kept["extra_content"] = extra
        return orjson.dumps(kept).decode() if kept and calls else None
