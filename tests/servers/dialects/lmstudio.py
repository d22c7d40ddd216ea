"""LM Studio: chat completions, and the states of its models at its own REST API."""

from __future__ import annotations

from typing import Any

from tests.servers import chat
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import MODEL, SERVED


def state(id: str, kind: str = "llm", *, loaded: int | None = None, **more: Any) -> dict[str, Any]:
    """What the REST API tells of a model; `loaded` is the context that it is loaded with."""
    told = {
        "id": id,
        "object": "model",
        "type": kind,
        "publisher": "lmstudio-community",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "not-loaded" if loaded is None else "loaded",
        "max_context_length": 131_072,
        **more,
    }
    return told if loaded is None else {**told, "loaded_context_length": loaded}


def states(*models: dict[str, Any]) -> dict[str, Any]:
    """The whole list."""
    return {"object": "list", "data": list(models)}


class LMStudioDialect(ChatDialect):
    """See the module."""

    type = "lmstudio"

    def pages(self) -> dict[str, Any]:
        return {**super().pages(), "/api/v0/models": states(state(MODEL, "vlm", loaded=8192))}

    def thought(self, text: str) -> bytes:
        return chat.chunk(reasoning=text, model=SERVED)

    def failure(self, status: int, message: str) -> bytes:
        return chat.error(message, type="invalid_request_error", param="model", code=None)
