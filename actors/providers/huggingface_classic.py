"""The classic text generation of Hugging Face: `inputs` and `parameters`, one prompt as a text."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.chat_template import CHATML, render
from actors.providers.port import ChatRequest, Finished
from actors.providers.stops import Stops
from events.errors import ProviderError
from events.values import Usage

CHATML_END: Final = "<|im_end|>"

_FINISH_REASONS: Final = {"eos_token": "stop", "stop_sequence": "stop"}
_STATUS: Final = {"overloaded": 429, "validation": 422}  # of an error within a stream


def stops_of(request: ChatRequest, template: str | None) -> tuple[str, ...]:
    """The texts before which the answer ends."""
    given = request.parameters.stop
    return given if request.chat_template or template else (*given, CHATML_END)


def body_of(
    request: ChatRequest, refused: Set[str], *, template: str | None, structured: bool, stream: bool
) -> tuple[dict[str, Any], Notes]:
    """The JSON body of a request, and what was changed or left out in it.

    `template` is the model's own, `structured` sends a schema along. What is in `refused` stands
    in `parameters`.
    """
    if any(message.images for message in request.messages):
        raise ProviderError(
            "the classic API of Hugging Face takes text alone: use api chat, or leave the image out"
        )
    asked, notes = request.parameters, []
    parameters: dict[str, Any] = {
        "return_full_text": False,
        "details": True,
        # The only way to learn how long the prompt is; a stream says it unasked.
        "decoder_input_details": None if stream else True,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "max_new_tokens": asked.max_tokens,
        "seed": asked.seed,
        "stop": list(stops_of(request, template)) or None,
    }
    if asked.temperature == 0:
        parameters |= {"temperature": None, "do_sample": False}
        notes.append("temperature: 0 is not taken, so the likeliest token is always chosen")
    if asked.top_p is not None and asked.top_p >= 1:
        parameters["top_p"] = None  # not taken either, and nothing would be left out
    if asked.schema_ is not None and structured:
        parameters["grammar"] = {"type": "json", "value": asked.schema_}
    elif asked.schema_ is not None:
        notes.append("grammar: not taken by this server, so the schema was not sent")
    if request.tools:
        notes.append("tools: this API has none, so no call will be understood")
    if not (request.chat_template or template):
        notes.append("chat_template: none is given, so that of ChatML was used")
    for key in refused & parameters.keys() - {"grammar"}:
        del parameters[key]
        notes.append(f"{key}: not taken by this server")
    given = {key: value for key, value in parameters.items() if value is not None}
    body = {
        "inputs": render(request.chat_template or template or CHATML, request),
        "parameters": {**given, **asked.extra},
        "stream": stream,
    }
    return body, tuple(notes)


class ClassicAnswer(Assembly):
    """An answer of text generation: a token an item, and details with the last."""

    FORM = "text generation"

    def __init__(self, provider: str, stops: tuple[str, ...]) -> None:
        super().__init__(provider)
        # The server ends with a stop sequence, which is no part of the answer.
        self._stops = Stops(stops)
        self._details: dict[str, Any] = {}
        self._told = True

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        if error := item.get("error"):
            kind = item.get("error_type")
            self.error = {"message": error, "code": _STATUS.get(kind or "", 500)}
            return []
        text = ""
        if (token := item.get("token")) is None:
            text = text_of(item["generated_text"])  # a whole answer
        elif not token.get("special"):
            text = text_of(token["text"])
        ended = item.get("generated_text") is not None
        if ended:
            details = item.get("details") or {}
            reason = text_of(details.get("finish_reason") or "")
            self._told = bool(reason)
            self._details = {
                "finish_reason": reason,
                "generated_tokens": details.get("generated_tokens"),
                "input_length": details.get("input_length", _length(details.get("prefill"))),
            }
            self.finish_reason = _FINISH_REASONS.get(reason, reason or "stop")
            self.done = True
        text = self._stops.passed(text)
        if ended:
            text += self._stops.rest()
        elif self._stops.met:  # by a server that goes on
            self.finish_reason, self.done = "stop", True
        return [("text", text)] if text else []

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        if not self._told:
            notes = (*notes, "finish_reason: not told by this server, so it may be cut")
        return Finished(
            finish_reason, usage=normalised(self._details), usage_raw=self._details, notes=notes
        )


def normalised(raw: Mapping[str, Any]) -> Usage | None:
    """The usage by the details of an answer; None where they do not count both sides."""
    prompt, completion = raw.get("input_length"), raw.get("generated_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return Usage(input=prompt, output=completion) if min(prompt, completion) >= 0 else None


def _length(prefill: Any) -> int | None:
    return len(prefill) if isinstance(prefill, list) and prefill else None
