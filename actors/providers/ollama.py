"""The provider `ollama`: models of an Ollama server, by its own API.

Ollama drops what does not fit into the context that it was started with and says nothing of it. So
the context is asked for with every request, as large as the model allows within a bound, and
nothing is to be dropped. Older servers know no such wish: what they say they have read is compared
with what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from actors.providers.assembly import Assembly, Notes
from actors.providers.calls_in_words import without_tools
from actors.providers.forced_calls import NOTE, told
from actors.providers.http_options import Address, HttpOptions
from actors.providers.ollama_chat import (
    OllamaAnswer,
    beside_of,
    chat_of,
    options_of,
    raw_of,
)
from actors.providers.pictures import check_pictures, pictures_in
from actors.providers.port import Capabilities, ChatRequest
from actors.providers.templated import TemplatedProvider
from actors.providers.truncation import Sent
from events.errors import ModelNotFound, ProviderError

_NUM_CTX: Final = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


class OllamaOptions(HttpOptions):
    """Options of type `ollama`.

    `available_models`, where it is given, are the models of this provider; no other is asked.
    `num_ctx` bounds the context in tokens. `keep_alive` says how long a model stays loaded, as
    Ollama writes it: `10m`, seconds, or -1 for ever. `think` asks a model that can for its
    reasoning, or not to reason; where it is not given, the model decides.
    """

    base_url: Address = "http://localhost:11434"
    available_models: tuple[str, ...] = ()
    num_ctx: int = Field(default=16_384, ge=1)
    keep_alive: int | str | None = None
    think: bool | str | None = None
    structured_output: bool = True
    # As many as it works on itself unless it was told otherwise. More would wait there, where
    # waiting counts as a late first token.
    max_concurrency: int = Field(default=1, ge=1, le=10_000)
    # A model may have to be loaded first.
    first_token_timeout: float = Field(default=300.0, gt=0)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server tells of a model; `able` is empty where it is too old to say."""

    context_length: int | None
    able: frozenset[str]


class OllamaProvider(TemplatedProvider):
    """See the module."""

    Options = OllamaOptions

    def __init__(self, id: str, options: OllamaOptions) -> None:
        headers = {} if options.key is None else {"Authorization": f"Bearer {options.key}"}
        super().__init__(id, options, options.base_url, headers)
        self._options = options
        self._shown: dict[str, Shown] = {}

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(
            structured_output=self._options.structured_output,
            tools=self._able(model, "tools"),
            images=self._able(model, "vision"),
            chat_template=True,
            context_length=self._num_ctx(model) or self._options.num_ctx,
        )

    async def models(self) -> tuple[str, ...]:
        if self._options.available_models:
            return self._options.available_models
        return self._listed(await self._get("/api/tags"), "models", "name")

    # --- what the server tells of a model ------------------------------------------------------

    async def _learn(self, request: ChatRequest) -> None:
        declared, model = self._options.available_models, request.model
        if declared and model not in declared:
            raise ModelNotFound(
                f"provider {self.id!r} has no model {model!r}: add it to its available_models, or"
                f" use one of {', '.join(declared)}"
            )
        if model not in self._shown:
            told = await self._get("/api/show", {"model": model}, model=model)
            self._shown[model] = _shown(told)

    def _able(self, model: str, what: str) -> bool:
        """Whether the model can do that; what is not known is taken to be so."""
        shown = self._shown.get(model)
        return shown is None or not shown.able or what in shown.able

    def _num_ctx(self, model: str) -> int | None:
        """The context to ask for; None where the model's own is not known."""
        shown = self._shown.get(model)
        length = (shown and shown.context_length) or self._options.context_length
        return length and min(length, self._options.num_ctx)

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return "/api/generate" if request.chat_template else "/api/chat"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        request, notes = self._taken(request)
        parameters = request.parameters
        body: dict[str, Any] = {}
        if parameters.schema_ is not None:
            if self._options.structured_output and "format" not in refused:
                body["format"] = parameters.schema_
            else:
                notes.append("format: not taken by this server, so the schema was not sent")
        think = self._options.think
        if think is not None and not request.chat_template:
            if not think or self._able(request.model, "thinking"):
                body["think"] = think
            else:
                notes.append("think: the model cannot, so it was not asked to")
        if self._options.keep_alive is not None:
            body["keep_alive"] = self._options.keep_alive
        if request.chat_template:
            if any(message.images for message in request.messages):
                raise ProviderError(
                    f"provider {self.id!r} takes no pictures with a chat_template: leave out one"
                    " of them"
                )
            body |= raw_of(request)
            if request.tools:
                notes.append("tools: shown to the chat_template alone; calls are not read")
        else:
            body |= chat_of(request)
            if request.tool_choice == "none":
                notes.append("tool_choice: this API has none, so the tools were not sent")
        # Servers from the end of 2025 on refuse what is too long then; the others take no notice.
        body |= {"truncate": False, "shift": False, **beside_of(parameters)}
        body["options"] = options_of(parameters, self._num_ctx(request.model))
        return {**body, "model": request.model, "stream": self._options.stream}, tuple(notes)

    def _taken(self, request: ChatRequest) -> tuple[ChatRequest, list[str]]:
        """The request as the model takes it, and what was changed for that."""
        able = self.capabilities(request.model)
        check_pictures(f"model {request.model!r} of {self.id!r}", pictures_in(request), able)
        if request.tools and not able.tools:
            note = "tools: not taken by this model, so they were not offered"
            return without_tools(request), [note]
        return told(request), [NOTE] if request.tool_choice == "required" else []

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        return ("format",) if "format" in body else ()

    def _assembly(self, request: ChatRequest) -> Assembly:
        options = options_of(request.parameters, self._num_ctx(request.model))
        num_ctx = options.get("num_ctx")
        sent = Sent.of(request, num_ctx if isinstance(num_ctx, int) else None)
        return OllamaAnswer(self.id, sent)


def _shown(told: Any) -> Shown:
    """Read from `/api/show`; what is not there, or not as it should be, is not known."""
    told = told if isinstance(told, dict) else {}
    info = told.get("model_info")
    lengths = [
        value
        for key, value in (info.items() if isinstance(info, dict) else ())
        if key.endswith(".context_length") and isinstance(value, int) and value > 0
    ]
    # Whoever made the model may have set less than it was trained for.
    parameters = told.get("parameters")
    if isinstance(parameters, str) and (found := _NUM_CTX.search(parameters)):
        lengths.append(int(found[1]))
    able = told.get("capabilities")
    return Shown(
        min(lengths, default=None),
        frozenset(each for each in able if isinstance(each, str))
        if isinstance(able, list)
        else frozenset(),
    )
