"""The messages API of Anthropic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers.dialects.dialect import (
    COMPLETION,
    KEY,
    MODEL,
    PROMPT,
    SERVED,
    Feature,
    Round,
    Sent,
)

VERSIONS = ("2023-06-01", "2026-10-21")
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicDialect:
    """See the module; implements `tests.servers.dialects.dialect.Dialect`.

    The text is block 0, the thinking block 1 and calls follow, in whatever order they come.
    """

    type = "anthropic"
    content_type = "text/event-stream"
    lacks: Mapping[Feature, str] = {"seed": "the API takes none"}

    def config(self, url: str) -> dict[str, Any]:
        return {"base_url": url, "api_key": "${KEY}"}

    def pages(self) -> dict[str, Any]:
        model = {
            "id": MODEL,
            "type": "model",
            "display_name": "A model",
            "created_at": "2026-02-04T00:00:00Z",
            "lifecycle": "active",
        }
        page = {"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL}
        return {"/v1/models": page}

    def event(self, type: str, **fields: Any) -> bytes:
        """One event of a stream."""
        return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()

    def piece(self, text: str) -> bytes:
        return self._delta(0, type="text_delta", text=text)

    def thought(self, text: str) -> bytes:
        return self._delta(1, type="thinking_delta", thinking=text)

    def calls(self, *calls: ToolCall) -> list[bytes]:
        events = []
        for index, call in enumerate(calls, 2):
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            events.append(self.event("content_block_start", index=index, content_block=block))
            half = len(call.arguments) // 2
            events += [
                self._delta(index, type="input_json_delta", partial_json=some)
                for some in ("", call.arguments[:half], call.arguments[half:])
            ]
            events.append(self.event("content_block_stop", index=index))
        return events

    def begin(self) -> list[bytes]:
        usage = {"input_tokens": PROMPT, "output_tokens": 1}
        message = {**self._message([], None), "usage": usage}
        text = {"type": "text", "text": ""}
        thinking = {"type": "thinking", "thinking": "", "signature": ""}
        return [
            self.event("message_start", message=message),
            self.event("content_block_start", index=0, content_block=text),
            self.event("content_block_start", index=1, content_block=thinking),
            self.event("ping"),
        ]

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        usage = usage or Usage(input=PROMPT, output=COMPLETION)
        counted = {
            "input_tokens": usage.input,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation_input_tokens": usage.cache_write,
            "output_tokens": usage.output + usage.reasoning,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
        }
        delta = {"stop_reason": REASONS[finish], "stop_sequence": None}
        return [
            self._delta(1, type="signature_delta", signature="c2lnbmVk"),
            self.event("content_block_stop", index=1),
            self.event("content_block_stop", index=0),
            self.event("message_delta", delta=delta, usage=counted),
            self.event("message_stop"),
        ]

    def body(self, text: str) -> bytes:
        usage = {"input_tokens": PROMPT, "output_tokens": COMPLETION}
        whole = self._message([{"type": "text", "text": text}], "end_turn")
        return json.dumps({**whole, "usage": usage}).encode()

    def failure(self, status: int, message: str) -> bytes:
        error = {"type": TYPES.get(status, "api_error"), "message": message}
        return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/v1/messages"
        texts, images = [], 0
        if system := body.get("system"):
            whole = system if isinstance(system, str) else system[0]["text"]
            texts.append(("system", whole))
        for message in body["messages"]:
            images += sum(block["type"] == "image" for block in message["content"])
            text = "".join(block.get("text", "") for block in message["content"])
            texts.append((message["role"], text))
        return Sent(
            model=body["model"],
            texts=tuple(texts),
            stream=body["stream"],
            temperature=body.get("temperature"),
            max_tokens=body["max_tokens"],
            stop=tuple(body.get("stop_sequences") or ()),
            tools=tuple(tool["name"] for tool in body.get("tools", ())),
            schema=body.get("output_config", {}).get("format", {}).get("schema"),
            images=images,
        )

    def authorised(self, headers: dict[str, str]) -> bool:
        given = {name.lower(): value for name, value in headers.items()}
        # The API takes the key in either header; the newest clients use the second.
        keyed = given.get("x-api-key") == KEY or given.get("authorization") == f"Bearer {KEY}"
        return keyed and given.get("anthropic-version") in VERSIONS

    def tool_of(self, body: dict[str, Any]) -> Tool:
        tool = body["tools"][0]
        return Tool(tool["name"], tool["description"], tool["input_schema"])

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        rounds = []
        messages = body["messages"]
        for message, after in zip(messages, [*messages[1:], {"content": []}], strict=True):
            blocks = message["content"]
            uses = [block for block in blocks if block["type"] == "tool_use"]
            if not uses:
                continue
            assert message["role"] == "assistant"
            assert blocks[-len(uses) :] == uses, "calls stand behind everything else"
            assert all(isinstance(use["input"], dict) for use in uses)
            results = after["content"][: len(uses)]
            assert all(result["type"] == "tool_result" for result in results)
            assert [each["tool_use_id"] for each in results] == [use["id"] for use in uses]
            texts = [self._text(result["content"]) for result in results]
            for text, result in zip(texts, results, strict=True):
                assert result.get("is_error", False) is text.startswith("Error: ")
            said = tuple((use["name"], use["input"]) for use in uses)
            rounds.append(Round(self._text(blocks), said, tuple(texts)))
        results = [block["type"] for message in messages for block in message["content"]].count(
            "tool_result"
        )
        assert results == sum(len(one.calls) for one in rounds), "a result without its call"
        return rounds

    def may_call(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and body.get("tool_choice") != {"type": "none"}

    def _text(self, blocks: list[dict[str, Any]]) -> str:
        return "".join(block["text"] for block in blocks if block["type"] == "text")

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": SERVED,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
        }

    def _delta(self, index: int, **delta: Any) -> bytes:
        return self.event("content_block_delta", index=index, delta=delta)
