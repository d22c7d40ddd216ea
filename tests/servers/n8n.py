"""A stand-in for n8n: webhooks that start workflows, and its API for executions.

What it says, and with which status, is what n8n 2.0.0 said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web

from tests.servers.web import served

Work = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""From what the webhook was sent to what the last node gives."""


@dataclass
class Execution:
    """One run of a workflow."""

    status: Literal["running", "success", "error", "canceled"] = "running"
    item: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    work: asyncio.Task[None] | None = None

    def shown(self, id: str) -> dict[str, Any]:
        """As the API tells of it, with its data."""
        result: dict[str, Any] = {"runData": {}}
        if self.status == "success":
            given = {"main": [[{"json": self.item, "pairedItem": {"item": 0}}]]}
            result = {"lastNodeExecuted": "Result", "runData": {"Result": [{"data": given}]}}
        if self.status == "error":
            result["error"] = {"message": self.reason, "name": "NodeApiError"}
        finished = self.status == "success"
        data = {"version": 1, "resultData": result}
        return {"id": id, "finished": finished, "status": self.status, "data": data}


@dataclass
class N8nServer:
    """Active workflows by the paths of their webhooks."""

    key: str
    url: str = ""
    answering_at_end: dict[str, Work] = field(default_factory=dict)
    answering_at_once: dict[str, Work] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    """The key that each webhook was called with."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client leaves before its webhook has answered."""

    hiccups: list[int] = field(default_factory=list)
    """Statuses that the next questions for an execution get; 0 ends the connection."""

    async def webhook(self, request: web.Request) -> web.StreamResponse:
        """Start a workflow."""
        path = request.match_info["path"]
        self.keys.append(request.headers.get("X-N8N-API-KEY"))
        body = await request.json()
        self.sent.append(body)
        if work := self.answering_at_end.get(path):
            try:
                return web.json_response(await work(body))
            except asyncio.CancelledError:
                self.gone.set()
                raise
            except aiohttp.ClientError:
                return web.json_response({"message": "Error in workflow"}, status=500)
        if work := self.answering_at_once.get(path):
            id = str(len(self.executions) + 1)
            self.executions[id] = execution = Execution()
            execution.work = asyncio.create_task(self._execute(execution, work, body))
            return web.json_response({"execution_id": id})
        message = f'The requested webhook "POST {path}" is not registered.'
        return web.json_response({"code": 404, "message": message}, status=404)

    async def _execute(self, execution: Execution, work: Work, body: dict[str, Any]) -> None:
        try:
            execution.item = await work(body)
        except aiohttp.ClientError as error:
            execution.status, execution.reason = "error", str(error)
        else:
            execution.status = "success"

    async def execution(self, request: web.Request) -> web.Response:
        """Tell of an execution, or stop it."""
        sent = request.headers.get("X-N8N-API-KEY")
        if sent is None:
            return web.json_response({"message": "'X-N8N-API-KEY' header required"}, status=401)
        if sent != self.key:
            return web.json_response({"message": "unauthorized"}, status=401)
        if self.hiccups and request.method == "GET":
            status = self.hiccups.pop(0)
            if not status and request.transport is not None:
                request.transport.close()
            return web.Response(status=status or 502, text="later")
        id = request.match_info["id"]
        if id not in self.executions:
            return web.json_response({"message": "Not Found"}, status=404)
        execution = self.executions[id]
        if request.method == "POST":
            assert execution.work is not None
            execution.work.cancel()
            execution.status = "canceled"
            self.stopped.set()
        return web.json_response(execution.shown(id))


async def draft_and_review(body: dict[str, Any]) -> dict[str, Any]:
    """A workflow that asks the first model, and has the last one review what it said."""
    urls = list(body["model_webhooks"].values())
    headers = {"Authorization": f"Bearer {body['token']}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:

        async def ask(url: str, message: str) -> str:
            async with http.post(url, json={"message": message}) as response:
                return str((await response.json())["text"])

        draft = await ask(urls[0], f"Write about {body['inputs']['topic']}.")
        return {"output": await ask(urls[-1], f"Review: {draft}"), "draft": draft}


@asynccontextmanager
async def n8n_server(key: str = "key-of-this-test") -> AsyncIterator[N8nServer]:
    """A server on a port of its own, with the workflow above at both kinds of webhook."""
    server = N8nServer(key)
    server.answering_at_end["whole"] = server.answering_at_once["long"] = draft_and_review
    app = web.Application()
    app.router.add_post("/webhook/{path}", server.webhook)
    app.router.add_get("/api/v1/executions/{id}", server.execution)
    app.router.add_post("/api/v1/executions/{id}/stop", server.execution)
    async with served(app) as server.url:
        try:
            yield server
        finally:
            for execution in server.executions.values():
                if execution.work is not None:
                    execution.work.cancel()
                    with suppress(asyncio.CancelledError):
                        await execution.work
