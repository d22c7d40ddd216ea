"""An n8n server: its webhooks, and its API for executions."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import httpx2

from actors.frameworks.n8n_config import N8nConfig
from actors.frameworks.port import WorkflowFailed

LARGEST: Final = 32 * 1024 * 1024
"""Bytes of an answer."""
_WORKING: Final = frozenset({"new", "running", "waiting"})
_SHOWN: Final = 300  # characters of an answer that stand in an error
_STOP_WITHIN: Final = 5.0  # seconds

_log = logging.getLogger(__name__)


class _NotNow(WorkflowFailed):
    """What may be otherwise in a while."""


class Server:
    """Connections to the server of one workflow."""

    def __init__(
        self, workflow: N8nConfig, headers: Mapping[str, str], secrets: Sequence[str]
    ) -> None:
        self._workflow = workflow
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._secrets = tuple(sorted(forms, key=len, reverse=True))
        self._http = httpx2.AsyncClient(headers=dict(headers), timeout=None, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def run(self, body: dict[str, Any]) -> Any:
        """Trigger the workflow, and give its result; raises `WorkflowFailed`.

        Secrets that n8n repeats, such as the headers and the token that a webhook was sent, stand
        in neither.
        A workflow whose execution is known is stopped where this is cancelled.
        """
        said = await self._asked("POST", self._workflow.webhook_url, body)
        if self._workflow.response == "webhook":
            return said[0] if isinstance(said, list) and len(said) == 1 else said
        id = said.get("execution_id") if isinstance(said, dict) else None
        if not isinstance(id, str | int):
            raise WorkflowFailed(
                'the webhook gave no execution_id: have it answer {"execution_id": "{{'
                ' $execution.id }}"} at once, by a node "Respond to Webhook"'
            )
        try:
            execution = await self._finished(str(id))
        except (asyncio.CancelledError, WorkflowFailed):
            await self._stop(str(id))
            raise
        status = execution.get("status") if isinstance(execution, dict) else None
        if status != "success":
            raise WorkflowFailed(
                f"the execution {id} of n8n ended as {status}: {_reason(execution)}"
            )
        return _last_item(execution)

    async def _finished(self, id: str) -> Any:
        """The execution when it has ended; a server that cannot be asked now is asked again."""
        url = f"{self._workflow.executions_url()}/{id}"
        while True:
            try:
                execution = await self._asked("GET", f"{url}?includeData=true")
            except _NotNow as error:
                _log.warning("execution %s of n8n is asked for again: %s", id, error)
            else:
                status = execution.get("status") if isinstance(execution, dict) else None
                if status not in _WORKING:
                    return execution
            await asyncio.sleep(self._workflow.poll_interval)

    async def _stop(self, id: str) -> None:
        """Best effort: older servers cannot, and ours is going away."""
        try:
            async with asyncio.timeout(_STOP_WITHIN):
                await self._asked("POST", f"{self._workflow.executions_url()}/{id}/stop", {})
        except (WorkflowFailed, TimeoutError) as error:
            _log.warning("execution %s of n8n was not stopped: %s", id, error)

    async def _asked(self, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
        where = urlsplit(url).netloc.rpartition("@")[2]
        try:
            async with self._http.stream(method, url, json=body) as response:
                text = await _text(response, where)
        except httpx2.HTTPError as error:
            why = self._hidden(str(error)) or type(error).__name__
            raise _NotNow(
                f"n8n cannot be reached at {where}: start it, or check webhook_url ({why})"
            ) from None
        if response.status_code >= 300:
            passing = response.status_code == 429 or response.status_code >= 500
            raise (_NotNow if passing else WorkflowFailed)(
                self._refusal(response.status_code, where, text)
            )
        try:
            return self._without_secrets(json.loads(text))
        except (ValueError, RecursionError):
            return self._hidden(text)

    def _refusal(self, status: int, where: str, text: str) -> str:
        said = self._hidden(" ".join(text.split()))[:_SHOWN]
        what = {
            401: "check api_key and headers",
            403: "check api_key and headers",
            404: "check the address, and that the workflow is active (a test URL is good for one"
            " call after a click in the editor)",
        }.get(status, "look at its executions in n8n")
        if 300 <= status < 400:
            what = "give the address that it leads to"
        return f"n8n at {where} answered {status}: {what} ({said})"

    def _without_secrets(self, said: Any) -> Any:
        match said:
            case str():
                return self._hidden(said)
            case list():
                return [self._without_secrets(each) for each in said]
            case dict():
                return {self._hidden(k): self._without_secrets(v) for k, v in said.items()}
            case int() if not -(2**63) <= said < 2**63:  # the log has no such numbers
                return str(said)
            case _:
                return said

    def _hidden(self, text: str) -> str:
        text = text.encode(errors="replace").decode()  # half an emoji is no text
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _forms(secret: str) -> tuple[str, ...]:
    """As it is, within JSON text and within an address."""
    return secret, json.dumps(secret)[1:-1], quote(secret, safe="")


async def _text(response: httpx2.Response, where: str) -> str:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST:
            raise WorkflowFailed(f"n8n at {where} answered more than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts).decode(errors="replace")


def _run_data(execution: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """What the nodes did, by name, and the name of the last."""
    result = (execution.get("data") or {}).get("resultData") or {}
    return result.get("runData") or {}, result.get("lastNodeExecuted")


def _last_item(execution: Mapping[str, Any]) -> Any:
    """What the last node gave: its only item, or all of them."""
    nodes, last = _run_data(execution)
    try:
        items = [item["json"] for item in nodes[last][-1]["data"]["main"][0]]
    except (KeyError, IndexError, TypeError):
        raise WorkflowFailed(
            "n8n kept no result of the execution: have the workflow save its executions"
        ) from None
    return items[0] if len(items) == 1 else items


def _reason(execution: Any) -> str:
    if not isinstance(execution, dict):
        return "no reason is given"
    error = ((execution.get("data") or {}).get("resultData") or {}).get("error") or {}
    return str(error.get("message") or "no reason is given")[:_SHOWN]
