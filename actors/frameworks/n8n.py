"""n8n: a workflow on a server of its own, started by a webhook."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from typing import Any

from actors.frameworks.configuring import parsed
from actors.frameworks.n8n_config import N8nConfig
from actors.frameworks.port import BadWorkflow, Doors, Models, Result, WorkflowFailed
from actors.frameworks.templates import text_of

_USUAL = ("output", "result", "answer", "text")


class N8n:
    """Triggers a workflow of n8n, hands it inputs and models, and takes its result.

    The webhook is sent `{"inputs", "model_webhooks": {id: URL}, "token"}`: a POST of
    `{"message": "..."}` to such a URL with the header `Authorization: Bearer TOKEN` is answered by
    the model. The token is good for this run alone, and no longer than it lasts.
    """

    name = "n8n"
    environment = None
    apart = False

    def config_schema(self) -> dict[str, Any]:
        return N8nConfig.model_json_schema()

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        parsed(N8nConfig, config).check(models)

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        from actors.frameworks.n8n_server import Server
        from actors.providers.references import Resolver
        from events.errors import ConfigError

        workflow = parsed(N8nConfig, config)
        workflow.check(models)
        room = (workflow.room_url or doors.invoke_url).rstrip("/")
        if not room:
            raise BadWorkflow("room_url: say where n8n reaches the room")
        body = {
            "inputs": dict(inputs),
            "model_webhooks": {id: f"{room}/models/{id}/invoke" for id in models},
            "token": doors.token,
        }
        resolver = Resolver("n8n", os.environ)
        try:
            headers = resolver.resolved(workflow.headers, "headers")
            if workflow.api_key is not None:
                headers["X-N8N-API-KEY"] = resolver.resolved(workflow.api_key, "api_key")
        except ConfigError as error:
            raise BadWorkflow(error.message) from None
        finally:
            resolver.close()
        secrets = (*resolver.found, doors.token)
        try:
            async with asyncio.timeout(workflow.timeout), Server(workflow, headers, secrets) as n8n:
                said = await n8n.run(body)
        except TimeoutError:
            raise WorkflowFailed(
                f"n8n did not finish within {workflow.timeout:g} s: raise timeout, or look at the"
                " execution in n8n"
            ) from None
        output = text_of(_output(said, workflow.output_key))
        return {
            "output": output,
            "outputs": said if isinstance(said, dict) else {"output": said},
            "steps": [{"name": "n8n", "by": "", "output": output}],
        }


def _output(said: Any, place: str | None) -> Any:
    """What is meant as the output of what n8n said."""
    if place is None:
        usual = (said[key] for key in _USUAL if isinstance(said, dict) and key in said)
        return next(usual, said)
    found = said
    for key in place.split("."):
        if not isinstance(found, dict) or key not in found:
            raise WorkflowFailed(f"output_key: the result of n8n has nothing at {place!r}")
        found = found[key]
    return found
