"""Ollama's own API: lines of JSON, the options of the model in an object of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers.dialects.dialect import (
    COMPLETION,
    EVERYTHING,
    KEY,
    MODEL,
    PROMPT,
    SERVED,
    Feature,
    Round,
    Sent,
    chosen,
)

CREATED = "2025-10-17T23:14:07.414671Z"
CONTEXT = 8192


def shown(
    context: int | None = CONTEXT,
    able: tuple[str, ...] = ("completion", "tools", "vision", "thinking"),
    **more: Any,
) -> dict[str, Any]:
    """What `/api/show` tells of a model."""
    info: dict[str, Any] = {"general.architecture": "llama", "llama.block_count": 32}
    if context is not None:
        info["llama.context_length"] = context
    return {
        "modelfile": "FROM a-model",
        "template": "{{ .Prompt }}",
        "details": {"format": "gguf", "family": "llama", "families": ["llama"]},
        "model_info": info,
        "capabilities": list(able),
        **more,
    }


def line(**item: Any) -> bytes:
    """One line of a stream."""
    return json.dumps({"model": SERVED, "created_at": CREATED, **item}).encode() + b"\n"


def last(finish: str = "stop", read: int | None = PROMPT, written: int | None = COMPLETION) -> Any:
    """The end of an answer, without what stands beside it."""
    counts = {"prompt_eval_count": read, "eval_count": written}
    return {
        "done": True,
        "done_reason": finish,
        "total_duration": 174_560_334,
        "load_duration": 101_397_084,
        "prompt_eval_duration": 13_074_791,
        "eval_duration": 52_479_709,
        # The server leaves out what is zero.
        **{name: count for name, count in counts.items() if count},
    }


class OllamaDialect:
    """See the module; implements `tests.servers.dialects.dialect.Dialect`."""

    type = "ollama"
    content_type = "application/x-ndjson"
    lacks: Mapping[Feature, str] = EVERYTHING

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": url, "api_key": "${KEY}"}

    def pages(self) -> dict[str, Any]:
        model = {"name": MODEL, "model": MODEL, "modified_at": CREATED, "size": 9, "digest": "0"}
        return {"/api/tags": {"models": [model]}, "/api/show": shown()}

    def _said(self, **message: Any) -> bytes:
        return line(message={"role": "assistant", "content": "", **message}, done=False)

    def piece(self, text: str) -> bytes:
        return self._said(content=text)

    def thought(self, text: str) -> bytes:
        return self._said(thinking=text)

    def calls(self, *calls: ToolCall) -> list[bytes]:
        return [
            self._said(
                tool_calls=[
                    {
                        "id": call.id,
                        "function": {
                            "index": index,
                            "name": call.name,
                            "arguments": json.loads(call.arguments),
                        },
                    }
                ]
            )
            for index, call in enumerate(calls)
        ]

    def begin(self) -> list[bytes]:
        return []

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        # The server knows no reason of its own for calls of tools.
        reason = "stop" if finish == "tool_calls" else finish
        end = last(reason, usage.input + usage.cache_read, usage.output + usage.reasoning)
        return [line(message={"role": "assistant", "content": ""}, **end)]

    def body(self, text: str) -> bytes:
        return line(message={"role": "assistant", "content": text}, **last())

    def failure(self, status: int, message: str) -> bytes:
        return json.dumps({"error": message}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/api/chat"
        options = body["options"]
        return Sent(
            model=body["model"],
            texts=tuple((message["role"], message["content"]) for message in body["messages"]),
            stream=body["stream"],
            tools=tuple(tool["function"]["name"] for tool in body.get("tools", ())),
            schema=body.get("format"),
            images=sum(len(message.get("images", ())) for message in body["messages"]),
            **chosen(options, limit="num_predict"),
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {KEY}"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        return Tool(**body["tools"][0]["function"])

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        rounds, waiting = [], list(body["messages"])
        while waiting:
            message = waiting.pop(0)
            assert message["role"] != "tool", "a result without its call"
            if not (calls := message.get("tool_calls", [])):
                continue
            functions = [call["function"] for call in calls]
            results = [waiting.pop(0) for _ in calls]
            assert all(isinstance(each["arguments"], dict) for each in functions)
            assert all(result["role"] == "tool" for result in results)
            names = [each["name"] for each in functions]
            assert [result["tool_name"] for result in results] == names
            assert [each["tool_call_id"] for each in results] == [call["id"] for call in calls]
            said = tuple((each["name"], each["arguments"]) for each in functions)
            texts = tuple(result["content"] for result in results)
            rounds.append(Round(message["content"], said, texts))
        return rounds

    def may_call(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools"))  # it knows no choice
