"""Chat completions, as OpenAI and those compatible with it speak them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers import chat
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
)


class ChatDialect:
    """See the module; implements `tests.servers.dialects.dialect.Dialect`."""

    type = "openai"
    content_type = "text/event-stream"
    lacks: Mapping[Feature, str] = EVERYTHING

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": f"{url}/v1", "api_key": "${KEY}"}

    def pages(self) -> dict[str, Any]:
        return {"/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model"}]}}

    def piece(self, text: str) -> bytes:
        return chat.chunk(text, model=SERVED)

    def thought(self, text: str) -> bytes:
        return chat.chunk(reasoning_content=text, model=SERVED)

    def calls(self, *calls: ToolCall) -> list[bytes]:
        parts = []
        for index, call in enumerate(calls):
            function = {"name": call.name, "arguments": ""}
            head = {"index": index, "id": call.id, "type": "function", "function": function}
            parts.append(chat.chunk(tool_calls=[head]))
            half = len(call.arguments) // 2
            for some in (call.arguments[:half], call.arguments[half:]):
                part = {"index": index, "function": {"arguments": some}}
                parts.append(chat.chunk(tool_calls=[part]))
        return parts

    def begin(self) -> list[bytes]:
        return [chat.chunk(role="assistant", model=SERVED)]

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        counted = chat.usage(
            usage.input + usage.cache_read + usage.cache_write,
            usage.output + usage.reasoning,
            prompt_tokens_details={"cached_tokens": usage.cache_read},
            completion_tokens_details={"reasoning_tokens": usage.reasoning},
        )
        return [chat.chunk(finish=finish, model=SERVED), counted, chat.DONE]

    def body(self, text: str) -> bytes:
        message = {"role": "assistant", "content": text}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": SERVED,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": PROMPT,
                "completion_tokens": COMPLETION,
                "total_tokens": PROMPT + COMPLETION,
            },
        }
        return json.dumps(whole).encode()

    def failure(self, status: int, message: str) -> bytes:
        return chat.error(message, type=f"error_{status}")

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        texts, images = [], 0
        for message in body["messages"]:
            content = message["content"]
            if isinstance(content, list):
                images += sum(part["type"] == "image_url" for part in content)
                content = "".join(part.get("text", "") for part in content)
            texts.append((message["role"], content))
        return Sent(
            model=body["model"],
            texts=tuple(texts),
            stream=body["stream"],
            temperature=body.get("temperature"),
            max_tokens=body.get("max_tokens") or body.get("max_completion_tokens"),
            seed=body.get("seed"),
            stop=tuple(body.get("stop") or ()),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools", ())),
            schema=schema,
            images=images,
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        return headers.get("Authorization") == f"Bearer {KEY}"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        return Tool(**body["tools"][0]["function"])

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        return rounds_of(body["messages"])

    def may_call(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and body.get("tool_choice") != "none"


def rounds_of(messages: list[dict[str, Any]]) -> list[Round]:
    """The rounds of a conversation in which every call has its result directly behind it."""
    rounds, waiting = [], list(messages)
    while waiting:
        message = waiting.pop(0)
        assert message["role"] != "tool", "a result without its call"
        calls = message.get("tool_calls", [])
        results = [waiting.pop(0) for _ in calls]
        assert all(call["type"] == "function" for call in calls)
        assert all(result["role"] == "tool" for result in results)
        assert [each["tool_call_id"] for each in results] == [call["id"] for call in calls]
        if calls:
            functions = [call["function"] for call in calls]
            assert all(isinstance(each["arguments"], str) for each in functions)
            said = [(each["name"], json.loads(each["arguments"])) for each in functions]
            texts = [each["content"] for each in results]
            assert all(isinstance(text, str) for text in texts)
            rounds.append(Round(message["content"] or "", tuple(said), tuple(texts)))
    return rounds
