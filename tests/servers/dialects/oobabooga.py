"""text-generation-webui: its chat completions, and the first API that it had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from events.values import Usage
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import MODEL, Feature, Sent, chosen
from tests.servers.dialects.texts import TEMPLATE, TEXT, TEXT_ALONE, TextDialect, texts_of


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


class LegacyDialect(TextDialect):
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
        "schema": TEXT,
        **TEXT_ALONE,
    }

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": url, "api_key": "${KEY}", "chat_template": TEMPLATE}

    def pages(self) -> dict[str, Any]:
        return {"/api/v1/model": {"result": MODEL}, "/api/v1/stop-stream": {"results": "success"}}

    def piece(self, text: str) -> bytes:
        return json.dumps(text)[1:-1].encode()

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
            **chosen(body, limit="max_new_tokens", stop="stopping_strings"),
        )
