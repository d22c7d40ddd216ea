"""text-generation-webui: chat completions, in the form that its own server gives them."""

from __future__ import annotations

import json
from typing import Any

from tests.servers.dialects.chat import ChatDialect


class OobaboogaDialect(ChatDialect):
    """See the module."""

    type = "oobabooga"
    has_schema = False

    def failure(self, status: int, message: str) -> bytes:
        if status in (401, 422):
            return json.dumps({"detail": message}).encode()
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": None}
        return json.dumps({"error": error}).encode()
