"""The Responses API of OpenAI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.providers.port import Tool
from events.values import ToolCall, Usage
from tests.servers.dialects.chat import ChatDialect
from tests.servers.dialects.dialect import COMPLETION, MODEL, PROMPT, SERVED, Feature, Round, Sent

STATUSES = {"stop": "completed", "tool_calls": "completed", "length": "incomplete"}


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream, with its name before it."""
    item = {"type": kind, "sequence_number": 1, **fields}
    return f"event: {kind}\ndata: {json.dumps(item)}\n\n".encode()


def response(status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    """The answer as a whole, as it stands at the moment."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": SERVED,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
        **fields,
    }


def message(text: Any) -> dict[str, Any]:
    """An item of output that says it."""
    return {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def function_call(call: ToolCall) -> dict[str, Any]:
    """An item of output that asks for the call."""
    return {
        "type": "function_call",
        "id": f"fc_{call.id}",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def counted(usage: Usage) -> dict[str, Any]:
    """The usage as the vendor tells it."""
    prompt = usage.input + usage.cache_read + usage.cache_write
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output + usage.reasoning,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": prompt + usage.output + usage.reasoning,
    }


class ResponsesDialect(ChatDialect):
    """See the module."""

    name = "openai_responses"
    lacks: Mapping[Feature, str] = {"seed": "the API takes none", "stop": "the API takes none"}

    def config(self, url: str) -> dict[str, Any]:
        return {**super().config(url), "api": "responses"}

    def begin(self) -> list[bytes]:
        return [
            event("response.created", response=response()),
            event("response.in_progress", response=response()),
        ]

    def piece(self, text: str) -> bytes:
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return event("response.output_text.delta", **place, delta=text, logprobs=[])

    def thought(self, text: str) -> bytes:
        place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
        return event("response.reasoning_summary_text.delta", **place, delta=text)

    def calls(self, *calls: ToolCall) -> list[bytes]:
        events = []
        for index, call in enumerate(calls, start=1):
            item = function_call(call)
            place = {"item_id": item["id"], "output_index": index}
            begun = {**item, "arguments": "", "status": "in_progress"}
            half = len(call.arguments) // 2
            part = "response.function_call_arguments.delta"
            events += [
                event("response.output_item.added", output_index=index, item=begun),
                event(part, **place, delta=call.arguments[:half]),
                event(part, **place, delta=call.arguments[half:]),
                event(
                    "response.function_call_arguments.done",
                    **place,
                    name=call.name,
                    arguments=call.arguments,
                ),
                event("response.output_item.done", output_index=index, item=item),
            ]
        return events

    def end(self, finish: str = "stop", usage: Usage | None = None) -> list[bytes]:
        status = STATUSES[finish]
        whole = response(
            status,
            usage=counted(usage or Usage(input=PROMPT, output=COMPLETION)),
            incomplete_details={"reason": "max_output_tokens"} if finish == "length" else None,
        )
        return [event(f"response.{status}", response=whole)]

    def body(self, text: str) -> bytes:
        usage = counted(Usage(input=PROMPT, output=COMPLETION))
        return json.dumps(response("completed", output=[message(text)], usage=usage)).encode()

    def sent(self, path: str, body: dict[str, Any]) -> Sent:
        assert path == "/v1/responses"
        texts, images = [], 0
        for item in body["input"]:
            content = item.get("content", item.get("output", ""))
            if isinstance(content, list):
                images += sum(part["type"] == "input_image" for part in content)
                content = "".join(part.get("text", "") for part in content)
            texts.append((item.get("role", "tool"), content))
        assert body["model"] == MODEL
        return Sent(
            model=body["model"],
            texts=tuple(texts),
            stream=body["stream"],
            temperature=body.get("temperature"),
            max_tokens=body.get("max_output_tokens"),
            tools=tuple(tool["name"] for tool in body.get("tools", ())),
            schema=body.get("text", {}).get("format", {}).get("schema"),
            images=images,
        )

    def rounds(self, body: dict[str, Any]) -> list[Round]:
        rounds, items, text = [], list(body["input"]), ""
        while items:
            item = items.pop(0)
            assert item.get("type") != "function_call_output", "a result without its call"
            if item.get("type") != "function_call":
                text = item["content"] if item.get("role") == "assistant" else ""
                continue
            calls = [item]
            while items[0].get("type") == "function_call":
                calls.append(items.pop(0))
            results = [items.pop(0) for _ in calls]
            assert all(each["type"] == "function_call_output" for each in results)
            assert [each["call_id"] for each in results] == [call["call_id"] for call in calls]
            said = tuple((call["name"], json.loads(call["arguments"])) for call in calls)
            rounds.append(Round(text, said, tuple(_output(each["output"]) for each in results)))
            text = ""
        return rounds

    def may_call(self, body: dict[str, Any]) -> bool:
        return bool(body.get("tools")) and body.get("tool_choice") != "none"

    def tool_of(self, body: dict[str, Any]) -> Tool:
        tool = body["tools"][0]
        return Tool(tool["name"], tool["description"], tool["parameters"])


def _output(output: Any) -> str:
    if isinstance(output, str):
        return output
    return "".join(part["text"] for part in output if part["type"] == "input_text")
