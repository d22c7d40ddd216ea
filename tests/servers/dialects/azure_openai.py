"""Azure OpenAI: chat completions of deployments, every item with what the content filter says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from events.values import Usage
from tests.servers import chat
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import KEY, MODEL, SERVED, Sent

DEPLOYMENT = "a-deployment"
VERSION = "2024-02-15-preview"
SAFE = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}
PROMPT_SAFE = chat.event(
    {
        "id": "",
        "object": "",
        "created": 0,
        "model": "",
        "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
    }
)


def filtered(piece: bytes, results: dict[str, Any]) -> bytes:
    """That item of a stream, with what the filter found."""
    item = json.loads(piece.removeprefix(b"data: "))
    for choice in item["choices"]:
        choice["content_filter_results"] = results
    return chat.event(item)


class AzureDialect(ChatDialect):
    """See the module; a dated API version."""

    type = "azure_openai"
    name = "azure_openai"

    def config(self, url: str) -> dict[str, Any]:
        return {
            "endpoint": url,
            "api_key": "${KEY}",
            "api_version": VERSION,
            "deployments": {MODEL: {"name": DEPLOYMENT, "context_length": 8192}},
        }

    def pages(self) -> dict[str, Any]:
        return {}

    def begin(self) -> list[bytes]:
        return [PROMPT_SAFE, *super().begin()]

    def piece(self, text: str) -> bytes:
        return filtered(super().piece(text), SAFE)

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        # An asynchronous filter tells of the last piece once it has read it, without a delta.
        choice = {"finish_reason": None, "index": 0, "content_filter_results": SAFE}
        late = chat.event(
            {"id": "", "object": "", "created": 0, "model": SERVED, "choices": [choice]}
        )
        finished, *rest = super().end(finish, usage)
        return [finished, late, *rest]

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"error": {"code": str(status), "message": message}}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == f"/openai/deployments/{DEPLOYMENT}/chat/completions"
        return replace(super().sent(path, body), model=MODEL)

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("api-key") == KEY


class AzureV1Dialect(AzureDialect):
    """The surface without dated versions, which takes the deployment as the model."""

    name = "azure_openai_v1"

    def config(self, url: str) -> dict[str, Any]:
        config = super().config(url)
        del config["api_version"]
        return config

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/openai/v1/chat/completions"
        assert body["model"] == DEPLOYMENT
        return replace(ChatDialect.sent(self, path, body), model=MODEL)


def refused_prompt() -> bytes:
    """The body with which a prompt is refused (status 400) for violence and a jailbreak."""
    found = {
        **SAFE,
        "jailbreak": {"filtered": True, "detected": True},
        "violence": {"filtered": True, "severity": "medium"},
    }
    return json.dumps(
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering the policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": found,
                },
            }
        }
    ).encode()
