"""What OpenRouter adds to a refusal: who refused, what was moderated, what to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from actors.providers.http_errors import LONGEST_MESSAGE, Refusal, Secrets


def explained(said: Refusal, secrets: Secrets) -> Refusal:
    """The refusal with what its metadata tell; itself where there are none."""
    content = said.content
    error = content.get("error", content) if isinstance(content, Mapping) else None
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    if not isinstance(metadata, Mapping):
        return said
    if raw := metadata.get("raw"):
        # The message itself is only that the provider returned an error.
        who = metadata.get("provider_name") or "the provider"
        message = f"{said.message}: {who} says {_text(raw)}"
        said = replace(said, message=secrets.hidden(message)[:LONGEST_MESSAGE])
    if said.status == 403 and (reasons := metadata.get("reasons")):
        # No fault of the key.
        message = secrets.hidden(f"{said.message} ({_text(reasons)})")[:LONGEST_MESSAGE]
        return replace(said, status=451, codes="content_filter", message=message)
    if said.status == 402 and metadata.get("limit_source") == "openrouter_in_flight_budget":
        # There is credit, and it is reserved by calls that have not ended.
        return replace(said, status=429)
    return said


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()
