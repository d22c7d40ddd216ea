"""NIM: chat completions, with problem details for refusals, and the queue of what is hosted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from tests.servers.dialects.chat import ChatDialect
from tests.servers.scripted import ScriptedServer

REQUEST: Final = "e5a7b2f0-3c1d-4b7e-9a55-1f0c2d3e4f5a"


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


@dataclass
class Outcome:
    """What a request in the queue comes to."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


class QueueingServer(ScriptedServer):
    """Accepts every request with 202 and an id, by which its outcome is fetched at `place`.

    It is pending `pending` times before. The id is told as a header, or in the body alone.
    """

    def __init__(
        self, outcome: Outcome, *, pending: int = 2, place: str = "/v1/status", header: bool = True
    ) -> None:
        super().__init__({})
        self._outcome = outcome
        self.pending = pending
        self._place = place
        told = {"NVCF-REQID": REQUEST, "NVCF-STATUS": "pending-evaluation"}
        body = json.dumps({"requestId": REQUEST}).encode()
        self.reply(
            body, status=202, content_type="application/json", headers=told if header else {}
        )

    async def page(self, request: web.Request) -> web.Response:
        if request.path != f"{self._place}/{REQUEST}":
            return await super().page(request)
        self.asked_for.append(request.path)
        if self.pending:
            self.pending -= 1
            return web.json_response({"requestId": REQUEST}, status=202)
        outcome = self._outcome
        return web.Response(
            body=outcome.body, status=outcome.status, content_type=outcome.content_type
        )
