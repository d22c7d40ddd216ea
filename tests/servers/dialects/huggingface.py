"""Hugging Face: chat completions of the router, and the classic text generation of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers import chat
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import COMPLETION, KEY, MODEL, PROMPT, Feature, Sent
from tests.servers.dialects.texts import TEMPLATE, texts_of


class HuggingFaceDialect(ChatDialect):
    """The router, and endpoints that speak chat completions."""

    type = "huggingface"
    name = "huggingface"


REASONS: Final = {"stop": "eos_token", "length": "length"}


def token(text: str, *, special: bool = False, **end: Any) -> bytes:
    """One item of a stream."""
    item = {
        "index": 1,
        "token": {"id": 1425, "text": text, "logprob": -1.5, "special": special},
        "generated_text": None,
        "details": None,
        **end,
    }
    return chat.event(item)


class ClassicDialect:
    """Text generation; implements `tests.servers.dialects.dialect.Dialect`."""

    type = "huggingface"
    name = "huggingface_classic"
    content_type = "text/event-stream"
    lacks: Mapping[Feature, str] = {
        "reasoning": "it is a part of the text",
        "tools": "text is all that it takes and gives",
        "images": "text is all that it takes and gives",
    }

    def config(self, url: str) -> dict[str, Any]:
        return {"api": "classic", "base_url": url, "api_key": "${KEY}", "chat_template": TEMPLATE}

    def pages(self) -> dict[str, Any]:
        return {"/info": {"model_id": MODEL, "max_total_tokens": 4096}}

    def piece(self, text: str) -> bytes:
        return token(text)

    def thought(self, text: str) -> bytes:
        raise AssertionError("it has none")

    def calls(self, *calls: ToolCall) -> list[bytes]:
        raise AssertionError("it has none")

    def begin(self) -> list[bytes]:
        return []

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        details = {
            "finish_reason": REASONS[finish],
            "generated_tokens": usage.output,
            "input_length": usage.input,
            "seed": None,
        }
        return [token("</s>", special=True, generated_text="all of it", details=details)]

    def body(self, text: str) -> bytes:
        details = {
            "finish_reason": "eos_token",
            "generated_tokens": COMPLETION,
            "seed": None,
            "prefill": [{"id": 1, "text": "a", "logprob": -1.0}] * PROMPT,
            "tokens": [],
        }
        return json.dumps([{"generated_text": text, "details": details}]).encode()

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"error": message, "error_type": "validation"}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/"
        parameters = body["parameters"]
        return Sent(
            model=None,
            texts=texts_of(body["inputs"]),
            stream=body["stream"],
            temperature=parameters.get("temperature"),
            max_tokens=parameters.get("max_new_tokens"),
            seed=parameters.get("seed"),
            stop=tuple(parameters.get("stop") or ()),
            schema=parameters.get("grammar", {}).get("value"),
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {KEY}"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        raise AssertionError("it has none")
