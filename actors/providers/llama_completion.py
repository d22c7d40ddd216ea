"""The raw completion of llama.cpp: a text that the participant's own template has made."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Final

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.chat_template import render
from actors.providers.forced_calls import NOTE
from actors.providers.http_options import Address, HttpOptions
from actors.providers.port import ChatRequest, Finished
from actors.providers.templated import TemplatedProvider
from events.errors import ProviderError
from events.values import Usage

_REASONS: Final = {"limit": "length"}  # all others are ends of the answer


class CompletionOptions(HttpOptions):
    """Options of `CompletionProvider`."""

    base_url: Address


class CompletionProvider(TemplatedProvider):
    """Asks a server of llama.cpp for the continuation of a text; used within `llama_cpp`."""

    def __init__(self, id: str, options: CompletionOptions) -> None:
        headers = {} if options.key is None else {"Authorization": f"Bearer {options.key}"}
        super().__init__(id, options, options.base_url, headers)

    async def models(self) -> tuple[str, ...]:
        return self._listed(await self._get("/v1/models"), "data", "id")

    def _path(self, request: ChatRequest) -> str:
        return "/completion"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        if any(message.images for message in request.messages):
            raise ProviderError(
                f"provider {self.id!r} takes no pictures with a chat_template: leave out one of"
                " them"
            )
        parameters = request.parameters
        given = {
            "temperature": parameters.temperature,
            "top_p": parameters.top_p,
            "n_predict": parameters.max_tokens,
            "seed": parameters.seed,
            "stop": list(parameters.stop) or None,
            "json_schema": parameters.schema_,
        }
        body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        body["prompt"] = render(request.chat_template or "", request)
        notes: Notes = ()
        if request.tools:
            notes = ("tools: shown to the chat_template alone; calls are not read",)
        if request.tool_choice == "required":
            notes = (*notes, NOTE)
        body |= {**parameters.extra, "model": request.model, "stream": self._settings.stream}
        return body, notes

    def _assembly(self, request: ChatRequest) -> Assembly:
        return CompletionAnswer(self.id)


class CompletionAnswer(Assembly):
    """An answer of `/completion`; its last item says why it stopped."""

    FORM = "llama.cpp's completion"

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._last: dict[str, Any] = {}
        self._model: str | None = None

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        if error := item.get("error"):
            self.error = error
            return []
        text = text_of(item["content"])
        if item["stop"]:
            self._last = item
            if (model := item.get("model")) is not None:
                self._model = text_of(model)
            reason = text_of(item.get("stop_type") or "")
            self.finish_reason = _REASONS.get(reason, "stop")
            self.done = True
        return [("text", text)] if text else []

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        counts = ("tokens_evaluated", "tokens_predicted", "tokens_cached", "timings")
        raw = {name: self._last[name] for name in counts if name in self._last}
        return Finished(
            finish_reason,
            usage=normalised(raw),
            usage_raw=raw or None,
            served_model=self._model,
            notes=notes,
        )


def normalised(raw: dict[str, Any]) -> Usage | None:
    """The parts of a usage; None where it is missing or makes no sense.

    What was still there from the request before is counted within `tokens_evaluated`.
    """
    try:
        read = int(raw["tokens_evaluated"])
        cached = min(int((raw.get("timings") or {}).get("cache_n") or 0), read)
        return Usage(
            input=read - cached, cache_read=cached, output=int(raw.get("tokens_predicted") or 0)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
