"""The provider `llama_cpp`: GGUF files run inside the process of the actor by llama.cpp.

llama.cpp listens on a port of this machine, under a key that only this provider knows, and is asked
as any OpenAI-compatible server: so streams, cancellation, tools and schemas are those of `openai`.
A participant's own chat template is rendered here, and its text goes to the raw completion.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, model_validator

from actors.prices import PriceTable, given_for
from actors.providers.gguf_file import context_length
from actors.providers.llama_completion import CompletionOptions, CompletionProvider
from actors.providers.local_llama import LocalServer, ModelFile, check_package, started
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.options import Options
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished, Limits
from events.errors import ConfigError, ModelNotFound, ProviderError, ProviderUnavailable
from events.prices import Prices

LONGEST_UNASKED: Final = 16_384
"""Tokens of context that a model gets where none are set: all that it was made for may take more
memory than there is."""

_OF_ONE_MODEL = frozenset(ModelFile.model_fields)


class LlamaCppOptions(Options):
    """Options of type `llama_cpp`.

    `models` are files by the name of their model; in place of them, `path` and what else describes
    a file may stand here for a single one, named after its file. A model computes `parallel`
    answers at once; `max_concurrency` is the most of any model's, unless set. `resources` are what
    Ray has to find for a model, such as `{"num_gpus": 1}`: where that is, it lives. An answer waits
    for `loading_timeout` seconds until its model is loaded.
    """

    models: dict[str, ModelFile] = Field(min_length=1)
    resources: dict[str, float] = Field(default_factory=dict)
    loading_timeout: float = Field(default=600.0, gt=0)
    first_token_timeout: float = Field(default=600.0, gt=0)
    stall_timeout: float = Field(default=60.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _single(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "models" in given or "path" not in given:
            return given
        file = {key: value for key, value in given.items() if key in _OF_ONE_MODEL}
        rest = {key: value for key, value in given.items() if key not in _OF_ONE_MODEL}
        return {**rest, "models": {Path(str(given["path"])).stem: file}}

    @property
    def limits(self) -> Limits:
        """As many calls at once as a model computes, unless set otherwise."""
        slots = max(file.parallel for file in self.models.values())
        given = "max_concurrency" in self.model_fields_set
        return super().limits if given else replace(super().limits, max_concurrency=slots)


@dataclass(frozen=True, slots=True)
class _Running:
    server: LocalServer
    provider: OpenAIProvider
    raw: CompletionProvider


class LlamaCppProvider:
    """Implements `actors.providers.port.Provider`. A model is loaded when it is first asked.

    Raises a `ConfigError` where llama.cpp or a file is missing; with `resources` only when the
    model is asked, because it lives elsewhere then.
    """

    Options = LlamaCppOptions

    def __init__(self, id: str, options: LlamaCppOptions) -> None:
        self.id = id
        self._options = options
        self._running: dict[str, asyncio.Task[_Running]] = {}
        self._contexts: dict[str, int] = {}
        if not options.resources:
            check_package()
            for name in options.models:
                self._context(name)

    @property
    def limits(self) -> Limits:
        return self._options.limits

    async def models(self) -> tuple[str, ...]:
        return tuple(self._options.models)

    def capabilities(self, model: str) -> Capabilities:
        try:
            context = self._context(model) if model in self._options.models else None
        except ConfigError:
            context = None  # the file is where the model lives
        return Capabilities(
            structured_output=True, tools=True, chat_template=True, context_length=context
        )

    def prices(self, model: str) -> Prices | None:
        here = PriceTable("http://127.0.0.1")
        return given_for(model, self._options.prices) or here.prices(model)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        running = await self._ready(request.model)
        asked = running.raw if request.chat_template else running.provider
        async with aclosing(asked.stream(request)) as answer:
            async for item in answer:
                yield item

    async def close(self) -> None:
        tasks = [*self._running.values()]
        self._running.clear()
        for running in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(running, _Running):
                # In this order: llama.cpp ends only once nobody waits for an answer of it.
                await running.provider.close()
                await running.raw.close()
                await asyncio.to_thread(running.server.stop)

    async def _ready(self, model: str) -> _Running:
        """The model, once it is loaded."""
        if model not in self._options.models:
            names = ", ".join(self._options.models)
            raise ModelNotFound(f"provider {self.id!r} has no model {model!r}: it has {names}")
        task = self._running.get(model)
        if task is None or (task.done() and task.exception() is not None):
            # In a task of its own: who asked may go away, and others wait for the same.
            task = asyncio.create_task(asyncio.to_thread(self._load, model))
            self._running[model] = task
        limit = self._options.loading_timeout
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                return await asyncio.shield(task)
        except TimeoutError:
            if not timer.expired():
                raise
            raise ProviderUnavailable(
                f"provider {self.id!r} is still loading {model!r} after {limit:g} s: ask again, or"
                " raise loading_timeout"
            ) from None
        except ConfigError as error:
            raise ProviderError(error.message) from None

    def _load(self, model: str) -> _Running:
        context = self._context(model)
        server = started(model, self._options.models[model], context, secrets.token_urlsafe(24))
        how: dict[str, Any] = {
            "api_key": SecretStr(server.key),
            "first_token_timeout": self._options.first_token_timeout,
            "stall_timeout": self._options.stall_timeout,
        }
        chat = OpenAIOptions(base_url=f"{server.address}/v1", **how)
        raw = CompletionOptions(base_url=server.address, **how)
        return _Running(server, OpenAIProvider(self.id, chat), CompletionProvider(self.id, raw))

    def _context(self, model: str) -> int:
        """The tokens of its context. Raises `ConfigError` where its file is no model."""
        if model not in self._contexts:
            file = self._options.models[model]
            its_own = context_length(file.path) or LONGEST_UNASKED
            self._contexts[model] = file.n_ctx or min(its_own, LONGEST_UNASKED)
        return self._contexts[model]
