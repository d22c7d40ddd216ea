"""The provider `huggingface`: Inference Providers, and endpoints of one's own.

`api` chat speaks chat completions, through the router of Inference Providers (model
`org/name:provider`) or with an endpoint that runs Text Generation Inference or the like. `api`
classic speaks the older text generation with one.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, Final, Literal, cast
from urllib.parse import quote

from pydantic import Field

from actors.providers import huggingface_classic as classic
from actors.providers.assembly import Assembly, Notes, Piece
from actors.providers.chat_completions import ChatAnswer
from actors.providers.http_errors import Refusal
from actors.providers.http_options import Address
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.port import Capabilities, ChatRequest
from actors.providers.templated import TemplatedProvider
from events.errors import ContextTooLong, ModelNotFound, ProviderError, ProviderUnavailable

ROUTER: Final = "https://router.huggingface.co/v1"
HOSTED_CLASSIC: Final = "https://router.huggingface.co/hf-inference/models"
LONGEST_LOADING: Final = 60.0  # seconds until a model that is still loading is asked again


class HuggingFaceOptions(OpenAIOptions):
    """Options of type `huggingface`.

    `chat_template` is the model's own, for `api` classic, in Jinja2. A model that is loading is
    waited for at most `loading_timeout` seconds.
    """

    api: Literal["chat", "classic"] = "chat"
    base_url: Address = ROUTER
    chat_template: str | None = None
    loading_timeout: float = Field(default=300.0, gt=0)


class HuggingFaceProvider(TemplatedProvider, OpenAIProvider):
    """See the module."""

    Options = HuggingFaceOptions

    def __init__(self, id: str, options: HuggingFaceOptions) -> None:
        self._classic = options.api == "classic"
        if self._classic and options.base_url == ROUTER:
            options = options.model_copy(update={"base_url": HOSTED_CLASSIC})
        super().__init__(id, options)
        self._root = "" if options.base_url.endswith("/v1") else "/v1"

    def capabilities(self, model: str) -> Capabilities:
        able = super().capabilities(model)
        if not self._classic:
            # A refused `response_format` is sent in another form.
            return replace(able, structured_output=self._options.structured_output)
        structured = able.structured_output and "grammar" not in self._refused.get(model, ())
        return Capabilities(
            structured_output=structured, chat_template=True, context_length=able.context_length
        )

    async def models(self) -> tuple[str, ...]:
        if not self._classic:
            return self._listed(await self._get(f"{self._root}/models"), "data", "id")
        if self._options.base_url == HOSTED_CLASSIC:
            return ()
        try:
            info = await self._get("/info")
        except ModelNotFound:
            return ()  # only Text Generation Inference tells
        return self._listed({"models": [info]}, "models", "model_id")

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        if not self._classic:
            return f"{self._root}{super()._path(request)}"
        hosted = self._options.base_url == HOSTED_CLASSIC
        return f"/{quote(request.model)}" if hosted else ""

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        options = self._options
        if self._classic:
            return classic.body_of(
                request,
                refused,
                template=cast(HuggingFaceOptions, options).chat_template,
                structured=options.structured_output and "grammar" not in refused,
                stream=options.stream,
            )
        return super()._body(request, refused)

    def _without_format(
        self, body: dict[str, Any], schema: dict[str, Any], refused: Set[str]
    ) -> Notes:
        if not self._options.structured_output:
            return super()._without_format(body, schema, refused)
        # The form of Text Generation Inference.
        body["response_format"] = {"type": "json_object", "value": schema}
        return ()

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        if not self._classic:
            return super()._negotiable(body)
        keys = ("grammar", "details", "decoder_input_details", "return_full_text", "seed")
        return tuple(key for key in keys if key in body["parameters"])

    def _assembly(self, request: ChatRequest) -> Assembly:
        if self._classic:
            template = cast(HuggingFaceOptions, self._options).chat_template
            return classic.ClassicAnswer(self.id, classic.stops_of(request, template))
        return HuggingFaceAnswer(self.id, self._stops_kept(request))

    # --- errors --------------------------------------------------------------------------------

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        who = f"provider {self.id!r}"
        seconds = said.content.get("estimated_time") if isinstance(said.content, dict) else None
        if said.status == 503 and isinstance(seconds, int | float):
            within = cast(HuggingFaceOptions, self._options).loading_timeout
            return ProviderUnavailable(
                f"{who} is loading model {model!r} (503): ask again in {seconds:g} s."
                f" It says: {said.message}",
                retry_after=min(float(seconds), LONGEST_LOADING, within),
                loads_within=within,
            )
        if "model_not_" in said.codes:  # found, supported
            return ModelNotFound(
                f"{who} has no model {model!r} for this account ({said.status}): see which models"
                f" it lists. It says: {said.message}"
            )
        if "`inputs`" in said.message and "tokens" in said.message:
            return ContextTooLong(
                f"the conversation does not fit model {model!r} of {who}: shorten it, lower"
                f" max_tokens, or give the participant a window. It says: {said.message}"
            )
        if said.status == 424:  # the model failed at it
            said = replace(said, status=500)
        return super()._refused_as(said, model)


class HuggingFaceAnswer(ChatAnswer):
    """An answer of chat completions, whose end Text Generation Inference may call otherwise."""

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        pieces = super()._pieces(item)
        if self.finish_reason in ("eos_token", "stop_sequence"):
            self.finish_reason = "stop"
        return pieces
