"""The messages API of Anthropic: its conversations, schemas, stream events and usage."""

from __future__ import annotations

from typing import Any, Final

import orjson

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.port import ChatMessage, Finished, Image
from events.values import ToolCall, Usage

OPENING: Final = "Begin."
"""What a person says first where the conversation begins with a model."""
GOING_ON: Final = "Continue."
"""What a person says last where the model itself did; the API would have it end that text."""

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
LONGEST_HIDDEN: Final = 4 * 1024 * 1024
"""Characters of signatures and of thinking that is encrypted."""
_GIVEN_BACK: Final = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
_GROWS: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}
_BOUNDS: Final = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength"
    " minItems maxItems uniqueItems minProperties maxProperties".split()
)


def system_of(messages: tuple[ChatMessage, ...]) -> str:
    """All that is said to the model beside the conversation."""
    return "\n\n".join(each.content for each in messages if each.role == "system")


def conversation_of(messages: tuple[ChatMessage, ...]) -> tuple[list[dict[str, Any]], Notes]:
    """The conversation: user and assistant by turns, the user first and last.

    What was added for that is in the notes. Texts of white space alone are left out, since the API
    refuses them. An answer with thinking that led to calls goes back block by block as it came.
    """
    turns: list[dict[str, Any]] = []
    notes: list[str] = []
    for message in messages:
        if message.role == "system" or not (blocks := _blocks(message)):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns and role == "assistant":
            turns.append(_said(OPENING))
            notes.append(f"messages: {OPENING!r} was put first, because a user has to begin")
        if turns and turns[-1]["role"] == "assistant" and message.carried is not None:
            turns.append(_said(GOING_ON))  # its thinking has to come first
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns:
        turns.append(_said(OPENING))
        notes.append(f"messages: they are empty, so {OPENING!r} was sent")
    elif turns[-1]["role"] == "assistant":
        turns.append(_said(GOING_ON))
        notes.append(f"messages: {GOING_ON!r} was put last, because the model had the last word")
    return turns, tuple(notes)


def closed(schema: Any) -> Any:
    """The schema as the API takes it: every object closed, and without bounds of any kind."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    taken: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            taken[key] = {name: closed(each) for name, each in value.items()}
        elif key in ("items", "anyOf", "allOf"):
            taken[key] = closed(value)
        elif key == "oneOf":
            taken["anyOf"] = closed(value)
        elif key not in _BOUNDS:
            taken[key] = value
    if schema.get("type") == "object" or "properties" in schema:
        taken["additionalProperties"] = False
    return taken


def _said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def goes_on_without_thinking(messages: tuple[ChatMessage, ...]) -> bool:
    """Whether the last calls whose results stand at the end came without thinking."""
    asking = [each for each in messages if each.tool_calls]
    return bool(asking) and messages[-1].role == "tool" and _as_it_came(asking[-1]) is None


def _as_it_came(message: ChatMessage) -> list[dict[str, Any]] | None:
    """The blocks of an answer with thinking; None where the calls in them are others, or none."""
    if message.carried is None:
        return None
    blocks: list[dict[str, Any]] = orjson.loads(message.carried)
    calls = [block["id"] for block in blocks if "input" in block]
    return blocks if calls == [call.id for call in message.tool_calls] else None


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if (came := _as_it_came(message)) is not None:
        return came
    blocks: list[dict[str, Any]] = [_picture(image) for image in message.images]
    if message.content.strip():
        blocks.append({"type": "text", "text": message.content})
    if message.role == "tool":
        # A result may be empty, a text block may not.
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id or ""}
        failed = {"is_error": True} if message.is_error else {}
        return [{**result, "content": blocks, **failed}]
    for call in message.tool_calls:
        arguments = _arguments(call.arguments)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _picture(image: Image) -> dict[str, Any]:
    source = {"type": "base64", "media_type": image.media_type, "data": image.base64}
    return {"type": "image", "source": source}


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of an earlier call; what is no object stands under a name of its own."""
    try:
        arguments = orjson.loads(text)
    except orjson.JSONDecodeError:
        arguments = text
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


class MessagesAnswer(Assembly):
    """An answer of the messages API, as events or as one message."""

    FORM = "Anthropic's messages"

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._usage: dict[str, Any] = {}
        self._model: str | None = None
        self._notes: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._content: dict[int, dict[str, Any]] = {}
        """The blocks as they came, by their place."""
        self._hidden = 0

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        kind = item.get("type")
        self.at_work |= kind != "ping"
        match kind:
            case "message_start":
                self._begin(item["message"])
            case "content_block_start":
                return self._block(int(item["index"]), item["content_block"])
            case "content_block_delta":
                return self._more(int(item["index"]), item["delta"])
            case "message_delta":
                self._end(item["delta"], item.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                self.error = item["error"] or "it does not say what"
            case "message":
                self._begin(item)
                self._end(item, None)
                blocks = enumerate(item["content"])
                return [piece for at, block in blocks for piece in self._block(at, block)]
        return []  # events that are new or mean nothing to us, such as pings

    def _begin(self, message: dict[str, Any]) -> None:
        if model := message.get("model"):
            self._model = text_of(model)
        self._count(message.get("usage"))

    def _block(self, index: int, block: dict[str, Any]) -> list[Piece]:
        kind = block["type"]
        if kind in _GIVEN_BACK:
            self._content[index] = {**block}
        if kind == "redacted_thinking":
            self._hide(block.get("data") or "")
        if kind == "text":
            return _piece("text", block.get("text"))
        if kind == "thinking":
            return _piece("reasoning", block.get("thinking"))
        if kind == "tool_use":
            given = orjson.dumps(block["input"]).decode() if block.get("input") else ""
            self._calls[index] = {
                "id": text_of(block["id"]),
                "name": text_of(block["name"]),
                "arguments": given,
            }
            self.size += len(given)
        return []

    def _more(self, index: int, delta: dict[str, Any]) -> list[Piece]:
        kind = delta["type"]
        if (key := _GROWS.get(kind)) and (block := self._content.get(index)):
            block[key] = (block.get(key) or "") + text_of(delta.get(key) or "")
        if kind == "text_delta":
            return _piece("text", delta["text"])
        if kind == "thinking_delta":
            return _piece("reasoning", delta["thinking"])
        if kind == "signature_delta":
            self._hide(delta.get("signature") or "")
        if kind == "input_json_delta" and index in self._calls:
            some = text_of(delta["partial_json"])
            self._calls[index]["arguments"] += some
            self.size += len(some)
        return []

    def _hide(self, text: str) -> None:
        """Count what is kept and never shown."""
        self._hidden += len(text)
        if self._hidden > LONGEST_HIDDEN:
            raise ValueError

    def _end(self, said: dict[str, Any], usage: Any) -> None:
        if reason := said.get("stop_reason"):
            reason = text_of(reason)
            self.finish_reason = _REASONS.get(reason, reason)
            if reason == "pause_turn":
                self._notes.append("pause_turn: the provider paused before the answer was complete")
        self._count(usage)

    def _count(self, usage: Any) -> None:
        """Later counts are totals, and name only some."""
        for name, value in (usage or {}).items():
            if value is not None:
                self._usage[name] = value

    def _carried(self) -> str | None:
        """The blocks as they came, where thinking led to calls."""
        for index, call in self._calls.items():
            self._content[index]["input"] = _arguments(call["arguments"] or "{}")
        came = [block for _, block in sorted(self._content.items())]
        blocks = [
            each for each in came if each["type"] != "text" or (each.get("text") or "").strip()
        ]
        thought = any("thinking" in block["type"] for block in blocks)
        return orjson.dumps(blocks).decode() if self._calls and thought else None

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        return Finished(
            finish_reason,
            usage=normalised(self._usage),
            usage_raw=self._usage or None,
            served_model=self._model,
            tool_calls=tuple(
                ToolCall(id=call["id"], name=call["name"], arguments=call["arguments"] or "{}")
                for _, call in sorted(self._calls.items())
            ),
            notes=(*notes, *self._notes),
            carried=self._carried(),
        )


def _piece(channel: Any, text: Any) -> list[Piece]:
    return [(channel, text_of(text))] if text else []


def normalised(raw: dict[str, Any]) -> Usage | None:
    """The five disjoint parts of a usage; None where it is missing or makes no sense.

    `input_tokens` are those that neither came from the cache nor went there; `output_tokens` hold
    those of thinking.
    """
    try:
        details = raw.get("output_tokens_details") or {}
        output = int(raw["output_tokens"])
        reasoning = min(int(details.get("thinking_tokens") or 0), output)
        return Usage(
            input=int(raw["input_tokens"]),
            cache_read=int(raw.get("cache_read_input_tokens") or 0),
            cache_write=int(raw.get("cache_creation_input_tokens") or 0),
            output=output - reasoning,
            reasoning=reasoning,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
