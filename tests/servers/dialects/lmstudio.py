"""LM Studio: chat completions, and the states of its models at its own REST API.

That has two releases: `NEWER` since 0.4, `OLDER` since 0.3.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.servers import chat
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import MODEL, SERVED

NEWER: Final = "/api/v1/models"
OLDER: Final = "/api/v0/models"


@dataclass(frozen=True)
class Told:
    """A model; `loaded` is the context that it is loaded with."""

    id: str
    kind: Literal["llm", "vlm", "embeddings"] = "llm"
    loaded: int | None = None
    longest: int | None = 131_072

    def newer(self) -> dict[str, Any]:
        """As `GET /api/v1/models` tells it."""
        instance = {"id": self.id, "config": {"context_length": self.loaded}}
        told = {
            "type": "embedding" if self.kind == "embeddings" else "llm",
            "publisher": "lmstudio-community",
            "key": self.id,
            "display_name": "A Model",
            "quantization": {"name": "Q4_0", "bits_per_weight": 4},
            "size_bytes": 241_410_208,
            "params_string": "270M",
            "loaded_instances": [] if self.loaded is None else [instance],
            "max_context_length": self.longest,
            "format": "gguf",
        }
        if self.kind == "embeddings":
            return told
        able = {"vision": self.kind == "vlm", "trained_for_tool_use": False}
        return {**told, "architecture": "gemma3", "capabilities": able, "description": None}

    def older(self) -> dict[str, Any]:
        """As `GET /api/v0/models` tells it."""
        told = {
            "id": self.id,
            "object": "model",
            "type": self.kind,
            "publisher": "lmstudio-community",
            "arch": "llama",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "not-loaded" if self.loaded is None else "loaded",
            "max_context_length": self.longest,
        }
        return told if self.loaded is None else {**told, "loaded_context_length": self.loaded}


def page(path: str, *told: Told) -> dict[str, Any]:
    """The whole list at that path."""
    if path == NEWER:
        return {"models": [each.newer() for each in told]}
    return {"object": "list", "data": [each.older() for each in told]}


class LMStudioDialect(ChatDialect):
    """See the module."""

    type = "lmstudio"

    def pages(self) -> dict[str, Any]:
        return {**super().pages(), NEWER: page(NEWER, Told(MODEL, "vlm", loaded=8192))}

    def thought(self, text: str) -> bytes:
        return chat.chunk(reasoning=text, model=SERVED)

    def failure(self, status: int, message: str) -> bytes:
        return chat.error(message, type="invalid_request_error", param="model", code=None)
