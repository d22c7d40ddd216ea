"""The provider `oobabooga`: text-generation-webui, by its chat completions or its first API.

Which of the two a server has is found out by asking, and again after it could not be reached. It
answers with the model that it has loaded, whatever is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Set
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, Field

from actors.providers.assembly import Assembly, Notes
from actors.providers.chat_completions import ChatAnswer
from actors.providers.forced_calls import FORCED
from actors.providers.http_options import Address
from actors.providers.oobabooga_legacy import (
    LegacyAnswer,
    by_another_model,
    legacy_body,
    nothing_loaded,
)
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished
from actors.providers.templated import TemplatedProvider
from actors.providers.truncation import Sent
from events.errors import BadResponse, ModelNotFound, ProviderError, ProviderUnavailable

NOTHING: Final = "None"  # the name of the model where none is loaded
STOP_WITHIN: Final = 1.0  # seconds for the old API to take that it shall stop

_API = re.compile(r"(/api)?(/v1)?$")


class OobaboogaOptions(OpenAIOptions):
    """Options of type `oobabooga`. `base_url` may end with `/v1` or not.

    `mode` is the server's: which of its templates it takes for a conversation. By the first API
    `chat_template` is that of participants who have none, and `max_new_tokens` bounds an answer for
    which nothing else is set.
    """

    base_url: Annotated[Address, AfterValidator(lambda url: _API.sub("", url))] = (
        "http://localhost:5000"
    )
    mode: Literal["instruct", "chat", "chat-instruct"] | None = None
    chat_template: str | None = None
    max_new_tokens: int = Field(default=1024, ge=1)
    # A schema is passed over without a word.
    structured_output: bool = False
    max_concurrency: int = Field(default=1, ge=1, le=10_000)
    first_token_timeout: float = Field(default=300.0, gt=0)


class OobaboogaProvider(TemplatedProvider, OpenAIProvider):
    """See the module."""

    Options = OobaboogaOptions

    def __init__(self, id: str, options: OobaboogaOptions) -> None:
        super().__init__(id, options)
        self._found = False
        self._legacy = False
        self._loaded: str | None = None

    @property
    def _own(self) -> OobaboogaOptions:
        return cast(OobaboogaOptions, self._options)

    def capabilities(self, model: str) -> Capabilities:
        able = replace(super().capabilities(model), chat_template=True)
        if not self._legacy:
            return able
        return replace(able, structured_output=False, tools=False, images=False)

    async def models(self) -> tuple[str, ...]:
        await self._probe()
        if self._legacy:
            return () if self._loaded is None else (self._loaded,)
        names = self._listed(await self._get("/v1/models"), "data", "id")
        return tuple(name for name in names if name != NOTHING)

    # --- which API -----------------------------------------------------------------------------

    async def _learn(self, request: ChatRequest) -> None:
        # The old API is found anew each time: it tells nowhere else which model it has loaded.
        if self._legacy or not self._found:
            await self._probe()
        if self._legacy and self._loaded is None:
            raise nothing_loaded(self.id)

    async def _probe(self) -> None:
        try:
            self._listed(await self._get("/v1/models"), "data", "id")
        except (BadResponse, ModelNotFound):
            told = await self._get("/api/v1/model")
            if not isinstance(told, dict) or "result" not in told:
                raise BadResponse(
                    f"provider {self.id!r} answers neither at /v1/models nor at /api/v1/model:"
                    " check its address, and that it was started with --api"
                ) from None
            name = told["result"]
            self._loaded = name if isinstance(name, str) and name != NOTHING else None
            self._legacy = True
        else:
            self._legacy = False
        self._found = True

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        finished = False
        try:
            async with contextlib.aclosing(super().stream(request)) as items:
                async for item in items:
                    finished = isinstance(item, Finished)
                    yield item
        except (asyncio.CancelledError, GeneratorExit):
            if not finished:
                await self._stop()
            raise
        except ProviderUnavailable:
            await self._stop()
            self._found = False  # another release may be there when it comes back
            raise

    async def _stop(self) -> None:
        """Have the old API stop, which does not notice that nobody listens any more."""
        if self._legacy:
            with contextlib.suppress(ProviderError, TimeoutError):
                async with asyncio.timeout(STOP_WITHIN):
                    await self._get("/api/v1/stop-stream", {})

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return "/api/v1/generate" if self._legacy else f"/v1{super()._path(request)}"

    def _whole(self) -> bool:
        return self._legacy or super()._whole()

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        if self._legacy:
            own = self._own
            return legacy_body(self.id, request, own.chat_template, own.max_new_tokens)
        # It passes over that a tool has to be called without a word.
        body, notes = super()._body(request, {*refused, FORCED})
        extra = request.parameters.extra
        if self._own.mode is not None:
            body.setdefault("mode", self._own.mode)
        if request.chat_template is not None:
            chat = str(body.get("mode", "instruct")).startswith("chat")
            key = "chat_template_str" if chat else "instruction_template_str"
            body[key] = extra.get(key, request.chat_template)
        return body, notes

    def _assembly(self, request: ChatRequest) -> Assembly:
        if self._legacy:
            return LegacyAnswer(self.id, request.model, self._loaded)
        return LoadedAnswer(self.id, request)


class LoadedAnswer(ChatAnswer):
    """An answer of chat completions by the model that the server has loaded."""

    def __init__(self, provider: str, request: ChatRequest) -> None:
        super().__init__(provider)
        self._asked = request.model
        self._sent = Sent.of(request, None)

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        finished = super()._finished(finish_reason, notes)
        if finished.served_model == NOTHING:
            # It says so only in its log, and answers with an empty text.
            raise nothing_loaded(self.provider)
        return self._sent.checked(by_another_model(finished, self._asked))
