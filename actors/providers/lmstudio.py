"""The provider `lmstudio`: models of LM Studio, by its chat completions.

Its own REST API says which models there are, which of them are loaded, and with what context: by
`/api/v1/models`, or by `/api/v0/models` before release 0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
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
    """What LM Studio tells of a model."""

    answers: bool
    """It is no embedding model."""
    sees: bool
    loaded: bool
    context_length: int | None


class LMStudioProvider(OpenAIProvider):
    """See the module."""

    Options = LMStudioOptions

    def __init__(self, id: str, options: LMStudioOptions) -> None:
        super().__init__(id, options)
        self._states: dict[str, State] = {}
        self._tells: tuple[_List, ...] = _LISTS  # those that may answer

    @property
    def takes_names(self) -> bool:
        """No: the templates of such models have no place for who speaks."""
        return False

    def capabilities(self, model: str) -> Capabilities:
        able, state = super().capabilities(model), self._states.get(model)
        if state is None:
            return able
        return replace(
            able,
            images=state.sees,
            context_length=state.context_length or able.context_length,
        )

    async def models(self) -> tuple[str, ...]:
        """All that answer, those that are loaded first."""
        await self._look(_LISTS)
        if not self._tells:
            return self._listed(await self._get("/v1/models"), "data", "id")
        able = [name for name, state in self._states.items() if state.answers]
        return tuple(sorted(able, key=lambda name: not self._states[name].loaded))

    # --- states --------------------------------------------------------------------------------

    async def _learn(self, request: ChatRequest) -> None:
        # Each time, since models come and go, and their contexts with them.
        await self._look(self._tells)

    async def _look(self, lists: tuple[_List, ...]) -> None:
        for one in lists:
            try:
                told = await self._get(one.path)
                names = self._listed(told, one.key, one.name)
            except (BadResponse, ModelNotFound):
                continue
            known = (each for each in told[one.key] if each[one.name] in names)
            self._states = dict(state for each in known for state in one.states(each))
            self._tells = (one,)
            return
        self._tells = ()  # a release before 0.3.6

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


@dataclass(frozen=True, slots=True)
class _List:
    """One of the lists of models: where it is, and how its entries are read."""

    path: str
    key: str
    name: str
    states: Callable[[Any], Iterable[tuple[str, State]]]


def _states(told: Any) -> Iterable[tuple[str, State]]:
    """The model by its key, and each of its loaded instances that has a name of its own."""
    sees = _object(told.get("capabilities")).get("vision") is True
    answers = told.get("type") != "embedding"
    longest = told.get("max_context_length")
    contexts: dict[str, Any] = {}
    instances = told.get("loaded_instances")
    for each in map(_object, instances if isinstance(instances, list) else ()):
        contexts[str(each.get("id"))] = _object(each.get("config")).get("context_length")
    # Who asks for the key gets the instance of that name, or else any.
    key = told["key"]
    own = contexts.get(key, next(iter(contexts.values()), None))
    yield key, State(answers, sees, bool(contexts), _length(own, longest))
    for id, context in contexts.items():
        if id != key:
            yield id, State(answers, sees, True, _length(context, longest))


def _older_states(told: Any) -> Iterable[tuple[str, State]]:
    kind, loaded = str(told.get("type", "llm")), told.get("state") == "loaded"
    context = told.get("loaded_context_length") if loaded else None
    length = _length(context, told.get("max_context_length"))
    yield told["id"], State(kind != "embeddings", kind == "vlm", loaded, length)


def _object(value: Any) -> dict[str, Any]:
    """The object that should be there, empty where it is none."""
    return value if isinstance(value, dict) else {}


def _length(*lengths: Any) -> int | None:
    """The first of them that is one."""
    known = (each for each in lengths if isinstance(each, int) and each > 0)
    return next(known, None)


_LISTS: Final = (
    _List("/api/v1/models", "models", "key", _states),
    _List("/api/v0/models", "data", "id", _older_states),
)
