"""text-generation-webui: its chat completions, and the first API that it had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import KEY, MODEL, Feature, Sent
from tests.servers.dialects.texts import TEMPLATE, texts_of


class OobaboogaDialect(ChatDialect):
    """What its server speaks now."""

    type = "oobabooga"
    lacks: Mapping[Feature, str] = {"schema": "the server passes over response_format"}

    def failure(self, status: int, message: str) -> bytes:
        if status in (401, 422):
            return json.dumps({"detail": message}).encode()
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": None}
        return json.dumps({"error": error}).encode()


class LegacyDialect:
    """The API of 2023: one text, whole; implements `tests.servers.dialects.dialect.Dialect`.

    The pieces of an answer are parts of its one string here, so that it may come in packets.
    """

    type = "oobabooga"
    name = "oobabooga_legacy"
    content_type = "application/json"
    lacks: Mapping[Feature, str] = {
        "stream": "this API answers all at once",
        "usage": "this API counts nothing",
        "length": "this API does not tell why an answer ends",
        "reasoning": "it is a part of the text",
        "tools": "text is all that it takes and gives",
        "schema": "text is all that it takes and gives",
        "images": "text is all that it takes and gives",
    }

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": url, "api_key": "${KEY}", "chat_template": TEMPLATE}

    def pages(self) -> dict[str, Any]:
        return {"/api/v1/model": {"result": MODEL}, "/api/v1/stop-stream": {"results": "success"}}

    def piece(self, text: str) -> bytes:
        return json.dumps(text)[1:-1].encode()

    def thought(self, text: str) -> bytes:
        raise AssertionError("it has none")

    def calls(self, *calls: ToolCall) -> list[bytes]:
        raise AssertionError("it has none")

    def begin(self) -> list[bytes]:
        return [b'{"results": [{"text": " ']  # the model's own first space

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        return [b'"}]}']

    def body(self, text: str) -> bytes:
        return b"".join([*self.begin(), self.piece(text), *self.end()])

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"error": message}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/api/v1/generate"
        return Sent(
            model=None,
            texts=texts_of(body["prompt"]),
            stream=False,
            temperature=body.get("temperature"),
            max_tokens=body.get("max_new_tokens"),
            seed=body.get("seed"),
            stop=tuple(body.get("stopping_strings", ())),
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        # It knows no keys; a proxy before it may.
        return headers.get("Authorization") == f"Bearer {KEY}"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        raise AssertionError("it has none")
