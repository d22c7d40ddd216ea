"""The provider `openai`: OpenAI, and every server that speaks its chat completions or Responses.

It speaks HTTP through aiohttp and reads the stream itself. The `openai` package would take five to
ten times the processor time for each call and a second to import; what it adds to a POST with a
bearer token, the mapping of errors, has its place in `http_errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Set
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from actors.providers import openrouter, responses
from actors.providers.assembly import Assembly, Notes
from actors.providers.calls_in_words import without_tools
from actors.providers.chat_completions import ChatAnswer, body_of
from actors.providers.forced_calls import FORCED, KEY, NOTE, negotiable, told
from actors.providers.http_errors import WISHES, Refusal
from actors.providers.http_options import Address, HttpOptions
from actors.providers.http_provider import HttpProvider
from actors.providers.pictures import takes_none
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished
from events.errors import AuthenticationFailed, BadResponse, ModelNotFound, ProviderError

OFFICIAL: Final = "https://api.openai.com/v1"
VLLM: Final = "vllm"  # the owner of each model in its list
TRUST: Final = "--trust-request-chat-template"

_OTHER_LENGTH_KEY: Final = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}


TOOL_KEYS: Final = ("include", "tools")
"""Keys about tools that a model may refuse; `include` asks for reasoning that goes back."""


class OpenAIOptions(HttpOptions):
    """Options of all that speak like OpenAI. `structured_output` false never sends a schema."""

    base_url: Address = OFFICIAL
    structured_output: bool = True


class ResponsesOptions(OpenAIOptions):
    """Options of type `openai`, and of those that have the Responses API too."""

    api: Literal["chat", "responses"] = "chat"


class OpenAITypeOptions(ResponsesOptions):
    """Options of type `openai`.

    `chat_template` says whether the server takes one with a request. Unset, it is so where the
    server lists its models as vLLM does, which has to be started with
    `--trust-request-chat-template`.
    """

    chat_template: bool | None = None


class OpenAIProvider(HttpProvider):
    """See the module. Types that speak the same, with another address or key, derive from it."""

    Options: type[OpenAIOptions] = OpenAITypeOptions
    LENGTH_KEY = "max_tokens"
    """How the servers of this type call it, mostly."""

    def __init__(self, id: str, options: OpenAIOptions) -> None:
        super().__init__(id, options, options.base_url, self._credentials(options))
        self._options = options
        self._responses = isinstance(options, ResponsesOptions) and options.api == "responses"
        self._takes_template: bool | None = False  # None: that is still to be found out
        self._blind: set[str] = set()
        newest = urlsplit(options.base_url).hostname == urlsplit(OFFICIAL).hostname
        if isinstance(options, OpenAITypeOptions) and not self._responses:
            unset = options.chat_template is None
            self._takes_template = False if unset and newest else options.chat_template
        self._length_key = "max_completion_tokens" if newest else self.LENGTH_KEY

    def _credentials(self, options: OpenAIOptions) -> dict[str, str]:
        return {} if options.key is None else {"Authorization": f"Bearer {options.key}"}

    @property
    def takes_names(self) -> bool:
        """Whether a message may say who speaks: those of the Responses API have no place for it."""
        return not self._responses

    def capabilities(self, model: str) -> Capabilities:
        refused = self._refused.get(model, ())
        return Capabilities(
            structured_output=self._options.structured_output and "response_format" not in refused,
            tools="tools" not in refused,
            images=model not in self._blind,
            chat_template=self._takes_template is not False,
            context_length=self._options.context_length,
        )

    async def models(self) -> tuple[str, ...]:
        return self._listed(await self._get("/models"), "data", "id")

    # --- chat templates ------------------------------------------------------------------------

    def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        if request.chat_template is None or self._takes_template is not None:
            return super().stream(request)
        return self._with_template(request)

    async def _with_template(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        """The answer, with a note where only now it was found out that no template is taken."""
        async with aclosing(super().stream(request)) as items:
            async for item in items:
                if isinstance(item, Delta) or self._takes_template:
                    yield item
                else:
                    note = "chat_template: the server uses its own"
                    yield replace(item, notes=(note, *item.notes))

    async def _learn(self, request: ChatRequest) -> None:
        if request.chat_template is None or self._takes_template is not None:
            return
        try:
            listed = await self._get("/models")
            self._takes_template = VLLM in self._listed(listed, "data", "owned_by")
        except (AuthenticationFailed, BadResponse, ModelNotFound):
            self._takes_template = False

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return "/responses" if self._responses else "/chat/completions"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        request, notes = _without(request, refused)
        length_key = self._length_key
        if length_key in refused:
            length_key = _OTHER_LENGTH_KEY[length_key]
        structured = self._options.structured_output and "response_format" not in refused
        if self._responses:
            body, more = responses.body_of(
                request,
                structured=structured,
                reasoning="include" not in refused,
                stream=self._options.stream,
            )
            notes += more
        else:
            body = body_of(
                request, structured=structured, length_key=length_key, stream=self._options.stream
            )
            schema = request.parameters.schema_
            if schema is not None and not structured:
                notes += self._without_format(body, schema, refused)
        if self._takes_template and request.chat_template is not None:
            body.setdefault("chat_template", request.chat_template)
        if "stream_options" in refused:
            body.pop("stream_options", None)
        for key in WISHES:
            if key in refused and body.pop(key, None) is not None:
                notes = (*notes, f"{key}: not taken by this model")
        return body, notes

    def _without_format(
        self, body: dict[str, Any], schema: dict[str, Any], refused: Set[str]
    ) -> Notes:
        """What becomes of a schema where the server does not take `response_format`."""
        return ("response_format: not taken by this server, so the schema was not sent",)

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        keys = ("response_format", "stream_options", self._length_key, *WISHES, *TOOL_KEYS)
        return (*negotiable(body), *(key for key in keys if key in body))

    def _assembly(self, request: ChatRequest) -> Assembly:
        if self._responses:
            return responses.ResponsesAnswer(self.id, request.parameters.stop)
        return ChatAnswer(self.id, self._stops_kept(request))

    def _stops_kept(self, request: ChatRequest) -> tuple[str, ...]:
        """The stop sequences that the model does not take."""
        kept = "stop" in self._refused.get(request.model, ())
        return request.parameters.stop if kept else ()

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        if TRUST in said.message:
            return ProviderError(
                f"provider {self.id!r} takes no chat_template from a participant ({said.status}):"
                f" start its server with {TRUST}, or leave chat_template out"
            )
        if said.takes_no_pictures:
            self._blind.add(model)
            return takes_none(f"model {model!r} of {self.id!r}", "images")
        return super()._refused_as(openrouter.explained(said, self._http.secrets), model)


def _without(request: ChatRequest, refused: Set[str]) -> tuple[ChatRequest, Notes]:
    """The request without what the model does not take of tools."""
    if request.tools and "tools" in refused:
        note = "tools: not taken by this model, so they were not offered"
        return without_tools(request), (note,)
    if request.tool_choice == "required" and FORCED in refused:
        return told(request), (NOTE,)
    if request.tool_choice == "none" and KEY in refused:
        return replace(request, tool_choice=None), (f"{KEY}: not taken by this model",)
    return request, ()
