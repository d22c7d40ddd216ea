"""The configuration of a workflow that an n8n server runs."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from actors.frameworks.configuring import Config
from actors.frameworks.port import BadWorkflow
from actors.providers.references import references

OURS = "N8N_"
"""How the names of variables begin that a run may have sent to n8n. Whoever starts a run writes its
configuration, and says where the webhook is: no other secret of the room may go there."""

_SECRET: Final = re.compile(
    r"auth|token|secret|passw|cookie|credential|(api|access|private)[-_]?key", re.IGNORECASE
)
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}")

HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+.*$", max_length=2000)]


class N8nConfig(Config):
    """A workflow that begins with a webhook, and how its result is taken.

    `response`: `webhook` takes what the webhook answers when the workflow is done; `execution`
    takes a webhook that answers at once with `{"execution_id": ...}`, and asks the API of n8n until
    that execution is finished.
    """

    webhook_url: HttpUrl = Field(description="the production URL of the webhook")
    api_key: str | None = Field(
        default=None, description="the key of n8n's API, as a reference such as ${N8N_API_KEY}"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="further headers; secrets as ${N8N_...}"
    )
    response: Literal["webhook", "execution"] = "webhook"
    api_url: HttpUrl | None = Field(
        default=None, description="n8n's API; default: /api/v1 where the webhook is"
    )
    room_url: HttpUrl | None = Field(
        default=None, description="where n8n reaches the room; default: where the room listens"
    )
    output_key: str | None = Field(
        default=None, description="the place of the output in the result, such as answer.text"
    )
    timeout: float = Field(default=300.0, gt=0, le=86_400, description="seconds for all of it")
    poll_interval: float = Field(
        default=1.0, ge=0.05, le=60, description="seconds between two questions for an execution"
    )

    def executions_url(self) -> str:
        """Where executions are asked for."""
        parts = urlsplit(self.webhook_url)
        base = self.api_url or f"{parts.scheme}://{parts.netloc}/api/v1"
        return f"{base.rstrip('/')}/executions"

    def check(self, models: Collection[str]) -> None:
        """Raise `BadWorkflow` where it cannot run."""
        if self.api_key is not None and not (
            self.api_key.startswith("${") and self.api_key.endswith("}")
        ):
            raise BadWorkflow(
                "api_key: write a reference such as ${N8N_API_KEY}; a key itself would stand in the"
                " log"
            )
        for place in ("webhook_url", "api_url", "room_url"):
            if "@" in urlsplit(getattr(self, place) or "").netloc:
                raise BadWorkflow(
                    f"{place}: leave out the user and the password, which would stand in the log;"
                    " n8n takes them as a header, such as Authorization: Basic ${N8N_BASIC}"
                )
        for header, value in self.headers.items():
            if _SECRET.search(header) and not _REFERENCE.search(value):
                raise BadWorkflow(
                    f"headers.{header}: write the secret as a reference such as ${{N8N_SECRET}}; as"
                    " it is, it would stand in the log"
                )
        for place, name in references({"api_key": self.api_key, "headers": self.headers}):
            if not name.startswith(OURS) or not name.isidentifier():
                raise BadWorkflow(
                    f"{place}: ${{{name}}} is not for workflows: put what n8n wants into an"
                    f" environment variable whose name begins with {OURS}"
                )
        if self.response == "execution" and self.api_key is None:
            raise BadWorkflow(
                "api_key: n8n tells of executions only for a key of its API; make one there, and"
                " name it, as in ${N8N_API_KEY}"
            )
        if not models:
            raise BadWorkflow("models: the run has none to hand to n8n")
