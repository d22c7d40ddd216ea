"""Hugging Face: chat completions of the router, and the classic text generation of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from events.values import Usage
from tests.servers import chat
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import COMPLETION, MODEL, PROMPT, Feature, Sent, chosen
from tests.servers.dialects.texts import TEMPLATE, TEXT_ALONE, TextDialect, texts_of


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


class ClassicDialect(TextDialect):
    """Text generation; implements `tests.servers.dialects.dialect.Dialect`."""

    type = "huggingface"
    name = "huggingface_classic"
    content_type = "text/event-stream"
    lacks: Mapping[Feature, str] = TEXT_ALONE

    def config(self, url: str) -> dict[str, Any]:
        return {"api": "classic", "base_url": url, "api_key": "${KEY}", "chat_template": TEMPLATE}

    def pages(self) -> dict[str, Any]:
        return {"/info": {"model_id": MODEL, "max_total_tokens": 4096}}

    def piece(self, text: str) -> bytes:
        return token(text)

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
            schema=parameters.get("grammar", {}).get("value"),
            **chosen(parameters, limit="max_new_tokens"),
        )
