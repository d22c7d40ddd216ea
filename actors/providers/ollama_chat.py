"""The chat of Ollama, and its raw generation: request, lines of the answer, usage."""

from __future__ import annotations

from typing import Any, Final

import orjson

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.chat_messages import tool_of
from actors.providers.chat_template import arguments_of, render
from actors.providers.port import ChatMessage, ChatRequest, Finished
from actors.providers.truncation import Sent
from events.values import Parameters, ToolCall, Usage

# What `extra` may set beside the options; every other name in it is an option of the model.
BESIDE_OPTIONS: Final = frozenset(
    "messages prompt tools format think keep_alive truncate shift logprobs top_logprobs suffix"
    " images".split()
)

_COUNTED = ("_count", "_duration")


def options_of(parameters: Parameters, num_ctx: int | None) -> dict[str, Any]:
    """The options of the model, those in `extra` last."""
    given = {
        "num_ctx": num_ctx,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "num_predict": parameters.max_tokens,
        "seed": parameters.seed,
        "stop": list(parameters.stop) or None,
    }
    extra = {**parameters.extra}
    nested = extra.pop("options", {})
    options = {key: value for key, value in given.items() if value is not None}
    options |= {key: value for key, value in extra.items() if key not in BESIDE_OPTIONS}
    return {**options, **nested} if isinstance(nested, dict) else options


def chat_of(request: ChatRequest) -> dict[str, Any]:
    """The conversation, and the tools, as messages."""
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    body: dict[str, Any] = {"messages": [_message(each, names) for each in request.messages]}
    if request.tools and request.tool_choice != "none":
        body["tools"] = [tool_of(tool) for tool in request.tools]
    return body


def raw_of(request: ChatRequest) -> dict[str, Any]:
    """The conversation as the text that the participant's own template makes of it."""
    return {"prompt": render(request.chat_template or "", request), "raw": True}


def beside_of(parameters: Parameters) -> dict[str, Any]:
    """What `extra` sets beside the options."""
    return {key: value for key, value in parameters.extra.items() if key in BESIDE_OPTIONS}


def _message(message: ChatMessage, names: dict[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        said["images"] = [image.base64 for image in message.images]
    if message.tool_calls:
        carried = orjson.loads(message.carried or "{}")
        if isinstance(carried, dict) and "thinking" in carried:
            said["thinking"] = carried["thinking"]
        said["tool_calls"] = [
            {
                "id": call.id,
                "function": {
                    "index": index,
                    "name": call.name,
                    "arguments": arguments_of(call.arguments),
                },
            }
            for index, call in enumerate(message.tool_calls)
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
        said["tool_name"] = names.get(message.tool_call_id, "")
    return said


class OllamaAnswer(Assembly):
    """An answer of `/api/chat`, or of `/api/generate`. Its last line says that it is done."""

    FORM = "Ollama's API"

    def __init__(self, provider: str, sent: Sent) -> None:
        super().__init__(provider)
        self._sent = sent
        self._last: dict[str, Any] = {}
        self._model = ""
        self._calls: list[ToolCall] = []
        self._thinking: list[str] = []

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        if error := item.get("error"):
            self.error = error
            return []
        self.at_work = True  # there is a line for each token, shown or not
        pieces: list[Piece] = []
        message = item.get("message") or {"content": item.get("response")}
        thinking = message.get("thinking") or item.get("thinking")
        if thinking:
            pieces.append(("reasoning", text_of(thinking)))
            self._thinking.append(thinking)
        if content := message.get("content"):
            pieces.append(("text", text_of(content)))
        for call in message.get("tool_calls") or ():
            self._take_call(call)
        if item["done"]:
            self._last = item
            self._model = text_of(item.get("model") or self._model)
            self.finish_reason = text_of(item.get("done_reason") or "stop")
            self.done = True
        return pieces

    def _take_call(self, call: dict[str, Any]) -> None:
        function = call["function"]
        arguments = orjson.dumps(function.get("arguments") or {}).decode()
        self.size += len(arguments)
        id = text_of(call.get("id") or f"call_{len(self._calls)}")
        self._calls.append(ToolCall(id=id, name=text_of(function["name"]), arguments=arguments))

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        raw = {key: value for key, value in self._last.items() if key.endswith(_COUNTED)}
        finished = Finished(
            "tool_calls" if self._calls and finish_reason == "stop" else finish_reason,
            usage=normalised(raw),
            usage_raw=raw or None,
            served_model=self._model or None,
            tool_calls=tuple(self._calls),
            notes=notes,
            carried=self._carried(),
        )
        return self._sent.checked(finished)

    def _carried(self) -> str | None:
        """The thinking that led to calls."""
        if not (self._calls and self._thinking):
            return None
        return orjson.dumps({"thinking": "".join(self._thinking)}).decode()


def normalised(raw: dict[str, Any]) -> Usage | None:
    """The usage, of which Ollama tells two parts; None where it does not tell what it read.

    It counts what it had cached as read, and what the model thought as written.
    """
    read, written = raw.get("prompt_eval_count"), raw.get("eval_count", 0)
    if not isinstance(read, int) or not isinstance(written, int) or min(read, written) < 0:
        return None
    return Usage(input=read, output=written)
