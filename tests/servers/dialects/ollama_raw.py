"""Ollama's raw generation: what it is asked for where a participant brings a chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from events.values import Usage
from tests.servers.dialects.dialect import COMPLETION, PROMPT, Feature, Sent, chosen
from tests.servers.dialects.ollama import OllamaDialect, last, line
from tests.servers.dialects.texts import TEMPLATE, texts_of


class OllamaRawDialect(OllamaDialect):
    """See the module."""

    name = "ollama_raw"
    chat_template = TEMPLATE
    lacks: Mapping[Feature, str] = {
        "tools": "the template alone sees them, and calls are a part of the text",
        "images": "they have no place in a text",
    }

    def piece(self, text: str) -> bytes:
        return line(response=text, done=False)

    def thought(self, text: str) -> bytes:
        return line(response="", thinking=text, done=False)

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        end = last(finish, usage.input + usage.cache_read, usage.output + usage.reasoning)
        return [line(response="", **end)]

    def body(self, text: str) -> bytes:
        return line(response=text, **last())

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/api/generate"
        assert body["raw"] is True
        options = body["options"]
        return Sent(
            model=body["model"],
            texts=texts_of(body["prompt"]),
            stream=body["stream"],
            schema=body.get("format"),
            **chosen(options, limit="num_predict"),
        )
