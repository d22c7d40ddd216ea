"""The JSON that clients of OpenAI are answered with."""

from __future__ import annotations

import time
from typing import Any

import orjson
from pydantic import BaseModel

from api.openai_door.backend import Card, Completion, Said
from events.values import ToolCall, Usage

DONE = b"data: [DONE]\n\n"
ALIVE = b": alive\n\n"


class Model(BaseModel):
    """A name that a request can give as its model."""

    id: str
    object: str = "model"
    created: int
    owned_by: str

    @classmethod
    def of(cls, card: Card) -> Model:
        """The model of a card."""
        return cls(id=card.id, created=card.created, owned_by=card.owned_by)


class Models(BaseModel):
    """What can be asked."""

    object: str = "list"
    data: tuple[Model, ...]


class ChatCompletion(BaseModel):
    """OpenAI's answer to a request for a chat completion.

    `control_room` names the session and the turn, in which all of it can be read.
    """

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    control_room: dict[str, str]


class Form:
    """The answers to one request, which have an id, a time and a model in common."""

    def __init__(self, id: str, model: str, *, answers: bool) -> None:
        self._head = {"id": id, "created": int(time.time()), "model": model}
        self._answers = answers

    def whole(self, completion: Completion) -> bytes:
        """The answer in one piece."""
        message: dict[str, Any] = {"role": "assistant", "content": completion.text}
        if completion.reasoning:
            message["reasoning_content"] = completion.reasoning
        if completion.tool_calls:
            message["content"] = completion.text or None
            message["tool_calls"] = [_call(one) for one in completion.tool_calls]
        if self._answers:
            message["answers"] = list(completion.answers)
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": completion.finish_reason,
        }
        return orjson.dumps(
            self._head
            | {
                "object": "chat.completion",
                "choices": [choice],
                "usage": _usage(completion.usage),
                "control_room": completion.place,
            }
        )

    def first(self) -> bytes:
        """The chunk that begins a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def said(self, said: Said) -> bytes:
        """A piece of the text."""
        name = "content" if said.channel == "content" else "reasoning_content"
        return self._chunk({name: said.text})

    def last(self, completion: Completion, *, usage: bool) -> bytes:
        """The chunks that end a stream."""
        chunks = b""
        if completion.tool_calls:
            calls = [_call(one) | {"index": n} for n, one in enumerate(completion.tool_calls)]
            chunks += self._chunk({"tool_calls": calls})
        delta = {"answers": list(completion.answers)} if self._answers else {}
        place = {"control_room": completion.place}
        chunks += self._chunk(delta, completion.finish_reason, place)
        if usage:
            chunks += self._data({"choices": [], "usage": _usage(completion.usage)})
        return chunks + DONE

    def _chunk(
        self,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        more: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._data({"choices": [choice], **(more or {})})

    def _data(self, content: dict[str, Any]) -> bytes:
        return data(self._head | {"object": "chat.completion.chunk"} | content)


def data(content: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read + usage.cache_write
    completion = usage.output + usage.reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
