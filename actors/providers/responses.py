"""The Responses API of OpenAI: request, events, usage."""

from __future__ import annotations

from typing import Any, Final

import orjson

from actors.providers import chat_completions
from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.port import ChatMessage, ChatRequest, Finished
from actors.providers.stops import Stops
from events.values import ToolCall, Usage

_CHANNELS: Final[dict[str, Any]] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
}
_WAITING: Final = ("keepalive", "response.queued", "response.in_progress")
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_INCOMPLETE: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
ENCRYPTED: Final = "reasoning.encrypted_content"
_KEPT: Final = {
    "reasoning": ("type", "id", "summary", "content", "encrypted_content"),
    "function_call": ("type", "call_id", "name", "arguments"),
}
"""What of an item of output is put in again."""
_PASSING: Final = ("server_error", "timeout", "overloaded")  # codes of what may go well next time


def body_of(
    request: ChatRequest, *, structured: bool, reasoning: bool = True, stream: bool = True
) -> tuple[dict[str, Any], Notes]:
    """The JSON body of a request, and what could not be put into it.

    Nothing is stored at the vendor unless `extra` asks for it, so `reasoning` asks for that which
    goes back with the calls of tools.
    """
    asked, notes = request.parameters, []
    given = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_output_tokens": asked.max_tokens,
    }
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    body["input"] = [item for message in request.messages for item in _items(message)]
    body["store"] = False
    if structured and asked.schema_ is not None:
        body["text"] = {
            "format": {
                "type": "json_schema",
                "name": "answer",
                "schema": asked.schema_,
                "strict": asked.schema_.get("additionalProperties") is False,
            }
        }
    elif asked.schema_ is not None:
        notes.append("text.format: not taken by this server, so the schema was not sent")
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,  # which is not the default here
            }
            for tool in request.tools
        ]
        if reasoning:
            body["include"] = [ENCRYPTED]
    if asked.seed is not None:
        notes.append("seed: the Responses API has none")
    last = {"tool_choice": request.tool_choice} if request.tools and request.tool_choice else {}
    fixed = {**last, "model": request.model, "stream": stream}
    return {**body, **asked.extra, **fixed}, tuple(notes)


def _items(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [_output(message)]
    if message.carried is not None:
        back: list[dict[str, Any]] = orjson.loads(message.carried)
        calls = [item["call_id"] for item in back if "call_id" in item]
        if calls == [call.id for call in message.tool_calls]:
            return back
    items: list[dict[str, Any]] = []
    if message.images:
        items.append({"role": message.role, "content": _with_pictures(message)})
    elif message.content or not message.tool_calls:
        items.append({"role": message.role, "content": message.content})
    items += (
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in message.tool_calls
    )
    return items


def _output(message: ChatMessage) -> dict[str, Any]:
    return {
        "type": "function_call_output",
        "call_id": message.tool_call_id,
        "output": _with_pictures(message) if message.images else message.content,
    }


def _with_pictures(message: ChatMessage) -> list[dict[str, Any]]:
    pictures = ({"type": "input_image", "image_url": each.url} for each in message.images)
    return [{"type": "input_text", "text": message.content}, *pictures]


def _given_back(item: dict[str, Any]) -> dict[str, Any] | None:
    """An item of output as it is put in again; None where it has no place there."""
    if item["type"] == "message":
        text = "".join(text for _, text in _texts(item))
        phase = {key: item[key] for key in ("phase",) if item.get(key)}
        return {"role": "assistant", "content": text, **phase} if text else None
    kept = _KEPT.get(item["type"])
    if kept is None or (item["type"] == "reasoning" and not item.get("encrypted_content")):
        return None
    return {key: item[key] for key in kept if key in item}


class ResponsesAnswer(Assembly):
    """An answer of the Responses API. It has no stop sequences, so they are kept here."""

    FORM = "the Responses API"

    def __init__(self, provider: str, stops: tuple[str, ...]) -> None:
        super().__init__(provider)
        self._stops = Stops(stops)
        self._streamed = False
        self._summarised = False
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._calls: dict[str, ToolCall] = {}
        self._output: dict[str, dict[str, Any]] = {}

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        kind = item.get("type")
        self.at_work |= kind not in _WAITING
        if channel := _CHANNELS.get(kind or ""):
            self._streamed = True
            return self._piece(channel, text_of(item["delta"]))
        if kind == "response.reasoning_summary_part.added":
            between, self._summarised = self._summarised, True
            return [("reasoning", "\n\n")] if between else []
        if kind == "response.function_call_arguments.delta":
            self.size += len(text_of(item["delta"]))
        elif kind == "response.output_item.done":
            self._take_item(item["item"])
        elif kind in _ENDS:
            return self._ended(item["response"])
        elif kind == "error":
            self._fail(item.get("error") or item)
        elif kind is None:
            return self._whole(item)
        return []

    def _whole(self, item: dict[str, Any]) -> list[Piece]:
        """What is no event: the answer where nothing was to be streamed, or a plain error."""
        if item.get("object") != "response":
            self.error = item["error"]
            return []
        return self._ended(item)

    def _piece(self, channel: Any, text: str) -> list[Piece]:
        if channel == "text":
            text = self._stops.passed(text)
            if self._stops.met:
                self.finish_reason, self.done = "stop", True
        return [(channel, text)] if text else []

    def _ended(self, response: dict[str, Any]) -> list[Piece]:
        if response["status"] == "failed":
            self._fail(response.get("error") or {})
            return []
        if model := response.get("model"):
            self._model = text_of(model)
        if usage := response.get("usage"):
            self._usage = {**usage}
        pieces: list[Piece] = []
        for item in response.get("output") or ():
            self._take_item(item)
            if not self._streamed:
                for channel, text in _texts(item):
                    pieces += self._piece(channel, text)
        if rest := self._stops.rest():
            pieces.append(("text", rest))
        self.done = True
        if not self._stops.met:
            self.finish_reason = self._reason(response)
        return pieces

    def _reason(self, response: dict[str, Any]) -> str:
        if response["status"] == "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason") or "length"
            return _INCOMPLETE.get(text_of(reason), reason)
        return "tool_calls" if self._calls else "stop"

    def _take_item(self, item: dict[str, Any]) -> None:
        if (back := _given_back(item)) is not None:
            # Each comes when it is done, and again at the end.
            self._output[str(item.get("id") or item.get("call_id"))] = back
        if item["type"] == "function_call":
            id = text_of(item["call_id"])
            arguments = text_of(item["arguments"]) or "{}"
            self._calls[id] = ToolCall(id=id, name=text_of(item["name"]), arguments=arguments)

    def _fail(self, error: dict[str, Any]) -> None:
        code = str(error.get("code") or error.get("type") or "server_error")
        if "rate_limit" in code or code == "insufficient_quota":
            status = 429
        else:
            status = 500 if any(word in code for word in _PASSING) else 400
        # Several policies have a code each.
        kind = f"content_policy {code}" if "policy" in code else code
        self.error = {"code": status, "type": kind, "message": error.get("message") or code}

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        if self._stops.met:
            notes = (*notes, "stop: the Responses API has none, so the answer was cut here")
        return Finished(
            finish_reason,
            usage=normalised(self._usage),
            usage_raw=self._usage,
            served_model=self._model,
            tool_calls=tuple(self._calls.values()),
            notes=notes,
            carried=self._carried(),
        )

    def _carried(self) -> str | None:
        """The output as it is put in again, where reasoning led to calls."""
        items = [*self._output.values()]
        reasoned = any(item.get("type") == "reasoning" for item in items)
        return orjson.dumps(items).decode() if self._calls and reasoned else None


def _texts(item: dict[str, Any]) -> list[tuple[str, str]]:
    """The texts of an item of output, each with its channel."""
    if item["type"] == "message":
        parts = item["content"]
        return [("text", text_of(part.get("text") or part.get("refusal") or "")) for part in parts]
    if item["type"] == "reasoning":
        said = [part["text"] for part in item.get("content") or item.get("summary") or ()]
        return [("reasoning", "\n\n".join(said))]
    return []


def normalised(raw: dict[str, Any] | None) -> Usage | None:
    """The five disjoint parts of a usage; the details are within the sums, as in completions."""
    if not raw:
        return None
    return chat_completions.normalised(
        {
            "prompt_tokens": raw.get("input_tokens"),
            "completion_tokens": raw.get("output_tokens"),
            "total_tokens": raw.get("total_tokens"),
            "prompt_tokens_details": raw.get("input_tokens_details"),
            "completion_tokens_details": raw.get("output_tokens_details"),
        }
    )
