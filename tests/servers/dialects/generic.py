"""An API of nobody's, as `generic_http` may be told to speak it, in events or in lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers.dialects.chat import rounds_of
from tests.servers.dialects.dialect import (
    COMPLETION,
    KEY,
    MODEL,
    PROMPT,
    Feature,
    Round,
    Sent,
    chosen,
)

TEMPLATE = {
    "model_name": "{{ config.model_name }}",
    "conversation": "{{ messages }}",
    "settings": {
        "temperature": "{{ config.temperature }}",
        "limit": "{{ config.max_tokens }}",
        "seed": "{{ config.seed }}",
        "until": "{{ config.stop }}",
        "form": "{{ request.schema }}",
    },
    "live": "{{ request.stream }}",
    "abilities": "{{ request.tools }}",
    "use_abilities": "{{ request.tool_choice }}",
    "greeting": "I am {{ request.role or 'nobody' }}.",
}


class GenericDialect:
    """See the module; implements `tests.servers.dialects.dialect.Dialect`."""

    type = "generic_http"
    lacks: Mapping[Feature, str] = {"images": "a request template has no place for them"}

    def __init__(self, format: Literal["sse", "ndjson"]) -> None:
        self.format = format
        self.name = f"generic_http_{format}"
        self.content_type = "text/event-stream" if format == "sse" else "text/plain"

    def config(self, url: str) -> dict[str, Any]:
        return {
            "endpoint": f"{url}/speak?project=p1",
            "headers": {"X-API-Key": "${KEY}"},
            "request_template": TEMPLATE,
            "response_path": "$.answers[0].words",
            "reasoning_path": "$.thought",
            "finish_path": "$.why",
            "tool_calls_path": "$.wants",
            "error_path": "$.fault",
            "usage_paths": {
                "input": "$.count.read",
                "cache_read": "$.count.known",
                "output": "$.count.written",
                "reasoning": "$.count.thought",
            },
            "stream": {"format": self.format, "text_path": "$.word", "done_path": "$.over"},
            "models": [MODEL],
        }

    def pages(self) -> dict[str, Any]:
        return {}

    def item(self, **content: Any) -> bytes:
        """One item of a stream."""
        line = json.dumps(content).encode()
        return b"data: " + line + b"\n\n" if self.format == "sse" else line + b"\n"

    def piece(self, text: str) -> bytes:
        return self.item(word=text, over=False)

    def thought(self, text: str) -> bytes:
        return self.item(word=None, thought=text)

    def calls(self, *calls: ToolCall) -> list[bytes]:
        parts: list[bytes] = []
        for index, call in enumerate(calls):
            half = len(call.arguments) // 2
            function = {"name": call.name, "arguments": call.arguments[:half]}
            parts.append(self.item(wants=[{"index": index, "id": call.id, "function": function}]))
            rest = {"index": index, "function": {"arguments": call.arguments[half:]}}
            parts.append(self.item(wants=[rest]))
        return parts

    def begin(self) -> list[bytes]:
        return [self.item(hello="there")]

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        count = {
            "read": usage.input + usage.cache_read,
            "known": usage.cache_read,
            "written": usage.output + usage.reasoning,
            "thought": usage.reasoning,
        }
        return [self.item(why=finish.upper()), self.item(over=True, count=count)]

    def body(self, text: str) -> bytes:
        count = {"read": PROMPT, "written": COMPLETION}
        return json.dumps({"answers": [{"words": text}], "count": count}).encode()

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"fault": {"number": status, "detail": message}}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/speak"
        settings = body["settings"]
        return Sent(
            model=body["model_name"],
            texts=tuple((said["role"], said["content"]) for said in body["conversation"]),
            stream=body["live"],
            schema=settings.get("form"),
            **chosen(settings, limit="limit", stop="until"),
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("X-API-Key") == KEY

    def tool_of(self, body: dict[str, Any]) -> Tool:
        return Tool(**body["abilities"][0]["function"])

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        return rounds_of(body["conversation"])

    def may_call(self, body: dict[str, Any]) -> bool:
        return bool(body.get("abilities")) and body.get("use_abilities") != "none"
