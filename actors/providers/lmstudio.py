"""The provider `lmstudio`: models of LM Studio, by its chat completions.

Its own REST API says which models there are, which of them are loaded, and with what context.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from actors.providers.assembly import Assembly, Notes
from actors.providers.chat_completions import ChatAnswer
from actors.providers.http_options import Address
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.pictures import check_pictures, pictures_in
from actors.providers.port import Capabilities, ChatRequest, Finished
from actors.providers.truncation import Sent
from events.errors import BadResponse, ModelNotFound

LOADED: Final = "loaded"


class LMStudioOptions(OpenAIOptions):
    """Options of type `lmstudio`. `base_url` may end with `/v1` or not."""

    base_url: Annotated[Address, AfterValidator(lambda url: url.removesuffix("/v1"))] = (
        "http://localhost:1234"
    )
    # It works on one request of a model after the other unless it was told otherwise.
    max_concurrency: int = Field(default=1, ge=1, le=10_000)
    # A model may have to be loaded first.
    first_token_timeout: float = Field(default=300.0, gt=0)


@dataclass(frozen=True, slots=True)
class State:
    """What LM Studio tells of a model; `kind` is `llm`, `vlm` or `embeddings`."""

    kind: str
    loaded: bool
    context_length: int | None


class LMStudioProvider(OpenAIProvider):
    """See the module."""

    Options = LMStudioOptions

    def __init__(self, id: str, options: LMStudioOptions) -> None:
        super().__init__(id, options)
        self._states: dict[str, State] = {}
        self._tells = True

    def capabilities(self, model: str) -> Capabilities:
        able, state = super().capabilities(model), self._states.get(model)
        if state is None:
            return able
        return replace(
            able,
            images=state.kind == "vlm",
            context_length=state.context_length or able.context_length,
        )

    async def models(self) -> tuple[str, ...]:
        """All that answer, those that are loaded first."""
        await self._look()
        if not self._tells:
            return self._listed(await self._get("/v1/models"), "data", "id")
        able = [name for name, state in self._states.items() if state.kind != "embeddings"]
        return tuple(sorted(able, key=lambda name: not self._states[name].loaded))

    # --- states --------------------------------------------------------------------------------

    async def _learn(self, request: ChatRequest) -> None:
        # Each time, since models come and go, and their contexts with them.
        if self._tells:
            await self._look()

    async def _look(self) -> None:
        try:
            told = await self._get("/api/v0/models")
            names = self._listed(told, "data", "id")
        except (BadResponse, ModelNotFound):
            self._tells = False  # a release before 0.3.6
            return
        self._states = {each["id"]: _state(each) for each in told["data"] if each["id"] in names}
        self._tells = True

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return f"/v1{super()._path(request)}"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        able = self.capabilities(request.model)
        check_pictures(f"model {request.model!r} of {self.id!r}", pictures_in(request), able)
        body, notes = super()._body(request, refused)
        state = self._states.get(request.model)
        if state is not None and not state.loaded:
            notes = (*notes, "not-loaded: the server had to load the model first")
        return body, notes

    def _assembly(self, request: ChatRequest) -> Assembly:
        state = self._states.get(request.model)
        context = state.context_length if state is not None and state.loaded else None
        return LMStudioAnswer(self.id, Sent.of(request, context))


class LMStudioAnswer(ChatAnswer):
    """An answer of chat completions that may have been to less than what was sent."""

    def __init__(self, provider: str, sent: Sent) -> None:
        super().__init__(provider)
        self._sent = sent

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        return self._sent.checked(super()._finished(finish_reason, notes))


def _state(told: Any) -> State:
    loaded = told.get("state") == LOADED
    lengths = [told.get("max_context_length")]
    if loaded:
        lengths.insert(0, told.get("loaded_context_length"))
    known = [each for each in lengths if isinstance(each, int) and each > 0]
    return State(str(told.get("type", "llm")), loaded, next(iter(known), None))
