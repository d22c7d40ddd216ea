"""Calls of tools in words, for models that take a conversation as text alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.providers.port import ChatMessage, ChatRequest


def in_words(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The conversation, in which the assistant says what it called, and the user what came of it.

    Where nothing was called it is the same.
    """
    told: list[ChatMessage] = []
    names: dict[str | None, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool":
            name = names.get(message.tool_call_id, "the tool")
            result = f"[What {name} returned]\n{message.content}"
            before = told.pop() if told and told[-1].role == "user" else ChatMessage("user", "")
            told.append(replace(before, content=_joined(before.content, result)))
        elif message.tool_calls:
            calls = (f"[I call {call.name} with {call.arguments}]" for call in message.tool_calls)
            text = _joined(message.content, *calls)
            told.append(ChatMessage(message.role, text, name=message.name))
        else:
            told.append(message)
    return tuple(told)


def without_tools(request: ChatRequest) -> ChatRequest:
    """The request as a model without tools is asked."""
    return replace(request, messages=in_words(request.messages), tools=(), tool_choice=None)


def _joined(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))
