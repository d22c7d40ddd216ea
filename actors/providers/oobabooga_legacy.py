"""The first API of text-generation-webui: one text in, one text out, both whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.calls_in_words import without_tools
from actors.providers.chat_template import render
from actors.providers.port import ChatRequest, Finished
from events.errors import ModelNotFound, ProviderError

TURNS: Final = (
    "{% for message in messages %}"
    "{% if message.role == 'system' %}{{ message.content ~ '\n\n' }}"
    "{% elif message.role == 'assistant' %}{{ 'ASSISTANT: ' ~ message.content ~ '\n' }}"
    "{% else %}{{ 'USER: ' ~ message.content ~ '\n' }}{% endif %}"
    "{% endfor %}ASSISTANT:"
)
"""What the server itself falls back to where it knows no template for a model."""
NEXT_TURN: Final = "\nUSER:"


def legacy_body(
    provider: str, request: ChatRequest, template: str | None, max_new_tokens: int
) -> tuple[dict[str, Any], Notes]:
    """The body of `POST /api/v1/generate`, and what could not be a part of it.

    The participant's template goes before `template`, which is that of the provider. Raises
    `ProviderError` for pictures.
    """
    if any(message.images for message in request.messages):
        raise ProviderError(
            f"provider {provider!r} takes no pictures by its old API: leave them out"
        )
    tools, request = request.tools, without_tools(request)
    template = request.chat_template or template
    parameters = request.parameters
    stop = parameters.stop if template else (*parameters.stop, NEXT_TURN)
    given = {
        "temperature": parameters.temperature or None,
        "do_sample": False if parameters.temperature == 0 else None,
        "top_p": parameters.top_p,
        "seed": parameters.seed,
    }
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    body["max_new_tokens"] = parameters.max_tokens or max_new_tokens
    body["stopping_strings"] = list(stop)
    body["prompt"] = render(template or TURNS, request)
    notes = ["finish_reason: the old API does not tell whether the answer was cut"]
    if tools:
        notes.append("tools: the old API takes none")
    if parameters.schema_ is not None:
        notes.append("response_format: not taken by the old API, so the schema was not sent")
    return {**body, **parameters.extra}, tuple(notes)


class LegacyAnswer(Assembly):
    """The one text of an answer of `loaded`, where `asked` was asked for; it tells no usage."""

    FORM = "text-generation-webui's old API"

    def __init__(self, provider: str, asked: str, loaded: str | None) -> None:
        super().__init__(provider)
        self._asked = asked
        self._loaded = loaded

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        if error := item.get("error"):
            self.error = error
            return []
        text = text_of(item["results"][0]["text"]).removeprefix(" ")
        self.finish_reason = "stop"
        self.done = True
        return [("text", text)] if text else []

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        finished = Finished(finish_reason, served_model=self._loaded, notes=notes)
        return by_another_model(finished, self._asked)


def by_another_model(finished: Finished, asked: str) -> Finished:
    """The end of the answer, with a note where another model gave it than was asked for."""
    served = finished.served_model
    if served is None or served == asked:
        return finished
    note = f"model: {served!r}, which the server has loaded, answered instead of {asked!r}"
    return replace(finished, notes=(*finished.notes, note))


def nothing_loaded(provider: str) -> ModelNotFound:
    """The error of a server without a model."""
    return ModelNotFound(
        f"provider {provider!r} has no model loaded: load one in its Model tab, or start it with"
        " --model"
    )
