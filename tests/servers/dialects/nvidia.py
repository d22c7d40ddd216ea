"""NIM: chat completions, with problem details for refusals."""

from __future__ import annotations

import json
from typing import Any

from tests.servers.dialects.chat import ChatDialect


class NvidiaDialect(ChatDialect):
    """See the module."""

    type = "nvidia"

    def failure(self, status: int, message: str) -> bytes:
        problem: dict[str, Any] = {
            "type": "urn:inference-service:problem-details:error",
            "title": "Error",
            "status": status,
            "detail": message,
            "instance": "/v2/nvcf/pexec/functions/b0fcd392",
            "requestId": "380d3287",
        }
        return json.dumps(problem).encode()
