"""The chat completions of OpenAI and of all that speak like it: request, chunks, usage."""

from __future__ import annotations

from typing import Any

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.chat_messages import Carried, messages_of, tool_of
from actors.providers.port import ChatRequest, Finished
from actors.providers.stops import Stops
from actors.providers.tool_calls import ToolCalls
from events.values import Usage


def body_of(
    request: ChatRequest, *, structured: bool, length_key: str, stream: bool = True
) -> dict[str, Any]:
    """The JSON body of a request.

    `structured` sends the schema along, `length_key` is how the server calls `max_tokens`.
    `extra` may add and replace anything but what is streamed from which model, and whether tools
    shall be called.
    """
    parameters = request.parameters
    given = {
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        length_key: parameters.max_tokens,
        "seed": parameters.seed,
        "stop": parameters.stop or None,
    }
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    body["messages"] = messages_of(request.messages)
    if structured and parameters.schema_ is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": parameters.schema_,
                # Only closed schemas may be strict.
                "strict": parameters.schema_.get("additionalProperties") is False,
            },
        }
    if request.tools:
        body["tools"] = [tool_of(tool) for tool in request.tools]
    if stream:
        body["stream_options"] = {"include_usage": True}
    last = {"tool_choice": request.tool_choice} if request.tools and request.tool_choice else {}
    return {**body, **parameters.extra, **last, "model": request.model, "stream": stream}


class ChatAnswer(Assembly):
    """An answer of chat completions. The stream itself says when it is done."""

    FORM = "chat completions"

    def __init__(self, provider: str, stops: tuple[str, ...] = ()) -> None:
        """`stops` are stop sequences that the server does not take, to be kept here."""
        super().__init__(provider)
        self._stops = Stops(stops)
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._calls = ToolCalls()
        self._carried = Carried()

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        # vLLM may say it without a key of its own, OpenRouter within the choice.
        if error := item.get("error") or (item if item.get("object") == "error" else None):
            self.error = error
            return []
        if usage := item.get("usage"):
            self._usage = {**usage}
        if self._model is None and (model := item.get("model")):
            self._model = text_of(model)
        pieces: list[Piece] = []
        for choice in item.get("choices") or ():
            if choice.get("index"):
                continue  # a second answer, which `extra` may ask for and nobody reads
            if error := choice.get("error"):
                self.error = error
                break
            if reason := choice.get("finish_reason"):
                self.finish_reason = text_of(reason)
            if delta := choice.get("delta") or choice.get("message"):
                pieces += self._said(delta)
        if self._stops.met:
            self.finish_reason, self.done = "stop", True
        elif self.finish_reason and (rest := self._stops.rest()):
            pieces.append(("text", rest))
        return pieces

    def _said(self, delta: dict[str, Any]) -> list[Piece]:
        pieces: list[Piece] = []
        self._carried.take(delta)
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            pieces.append(("reasoning", text_of(reasoning)))
        elif delta.get("reasoning_details"):  # of OpenRouter, where they are encrypted
            self.at_work = True
        content = delta.get("content") or delta.get("refusal")
        if content and (text := self._stops.passed(text_of(content))):
            pieces.append(("text", text))
        if calls := delta.get("tool_calls"):
            self.size += self._calls.take(calls)
        return pieces

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        if self._stops.met:
            notes = (*notes, "stop: the answer was cut here, which costs its usage")
        calls = self._calls.complete()
        return Finished(
            finish_reason,
            usage=normalised(self._usage),
            usage_raw=self._usage,
            served_model=self._model,
            tool_calls=calls,
            notes=notes,
            carried=self._carried.complete(calls, self._calls.extra),
        )


def normalised(raw: dict[str, Any] | None) -> Usage | None:
    """The five disjoint parts of a usage; None where it is missing or makes no sense.

    Cached tokens are counted within `prompt_tokens`, and reasoning within `completion_tokens`,
    except by servers whose total says that it comes on top, such as xAI's, or that count more of it
    than completion. What a total holds beyond the two without any details is reasoning too.
    """
    if not raw:
        return None
    try:
        prompt_details = raw.get("prompt_tokens_details") or {}
        details = raw.get("completion_tokens_details") or {}
        prompt = int(raw.get("prompt_tokens") or 0)
        completion = int(raw.get("completion_tokens") or 0)
        read = prompt_details.get("cached_tokens") or raw.get("prompt_cache_hit_tokens") or 0
        read = min(int(read), prompt)
        written = min(int(prompt_details.get("cache_write_tokens") or 0), prompt - read)
        beyond = int(raw.get("total_tokens") or 0) - prompt - completion
        reasoning = details.get("reasoning_tokens")
        reasoning = max(0, beyond) if reasoning is None else int(reasoning)
        apart = reasoning > completion or reasoning == beyond
        return Usage(
            input=prompt - read - written,
            cache_read=read,
            cache_write=written,
            output=completion if apart else completion - reasoning,
            reasoning=reasoning,
        )
    except (TypeError, ValueError, AttributeError):
        return None
