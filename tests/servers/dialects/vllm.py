"""vLLM: chat completions, and a chat template with a request where it is told to trust those."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import EVERYTHING, MODEL, Feature, Sent
from tests.servers.dialects.texts import TEMPLATE

UNTRUSTED: Final = (
    "Chat template is passed with request, but --trust-request-chat-template is not set. Refused"
    " request with untrusted chat template."
)
"""What it says where it is not."""


class VllmDialect(ChatDialect):
    """See the module; a participant brings a template, and the server is found out to be vLLM."""

    name = "openai_vllm"
    chat_template = TEMPLATE
    lacks: Mapping[Feature, str] = EVERYTHING

    def pages(self) -> dict[str, Any]:
        card = {
            "id": MODEL,
            "object": "model",
            "created": 1_700_000_000,
            "owned_by": "vllm",
            "root": "/models/a-model",
            "parent": None,
            "max_model_len": 4096,
        }
        return {"/v1/models": {"object": "list", "data": [card]}}

    def failure(self, status: int, message: str) -> bytes:
        error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
        return json.dumps({"error": error}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert body["chat_template"] == TEMPLATE
        return super().sent(path, body)
