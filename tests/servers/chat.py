"""An OpenAI-compatible server that does exactly what a test tells it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.servers.scripted import ScriptedServer, listening


class ChatServer(ScriptedServer):
    """Answers chat completions, and lists `models`."""

    def __init__(self) -> None:
        super().__init__({})
        self.list("a-model")

    def list(self, *models: str) -> None:
        """Have these models."""
        data = [{"id": id, "object": "model"} for id in models]
        self.pages["/v1/models"] = {"object": "list", "data": data}

    @property
    def base_url(self) -> str:
        """Where its API is."""
        return f"{self.url}/v1"


@asynccontextmanager
async def chat_server() -> AsyncIterator[ChatServer]:
    """A server on a port of its own, on the loop of the test."""
    server = ChatServer()
    async with listening(server):
        yield server


def chunk(
    content: str | None = None,
    *,
    finish: str | None = None,
    model: str = "served-model",
    **delta: Any,
) -> bytes:
    """One event of a streamed answer."""
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
            "choices": [choice],
        }
    )


def usage(prompt: int = 10, completion: int = 5, **details: Any) -> bytes:
    """The event with which a stream tells its usage."""
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "served-model",
            "choices": [],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                **details,
            },
        }
    )


def event(item: Any) -> bytes:
    """Any JSON as an event."""
    return b"data: " + json.dumps(item).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


def whole(*contents: str) -> list[bytes]:
    """A complete answer."""
    return [
        chunk(role="assistant"),
        *(chunk(content) for content in contents),
        chunk(finish="stop"),
        usage(),
        DONE,
    ]


def error(message: str, **fields: Any) -> bytes:
    """The body of a refusal."""
    return json.dumps({"error": {"message": message, **fields}}).encode()
