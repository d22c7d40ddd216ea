"""The provider `nvidia`: NIM, hosted by NVIDIA or one's own, with its chat completions.

What is hosted may put a request into a queue (202) and tell an id: the answer is fetched then.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Set
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from actors.providers.assembly import Notes
from actors.providers.http_client import read
from actors.providers.http_errors import Refusal
from actors.providers.http_options import Address
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.port import Capabilities, ChatRequest
from events.errors import ModelNotFound, ProviderError, ProviderUnavailable

if TYPE_CHECKING:
    from aiohttp import ClientResponse

HOSTED: Final = "https://integrate.api.nvidia.com/v1"
QUEUED: Final = 202
POLLED_EVERY: Final = 1.0  # seconds

_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class NvidiaOptions(OpenAIOptions):
    """Options of type `nvidia`. `models` are shown in place of all that the server lists."""

    base_url: Address = HOSTED
    models: tuple[str, ...] = ()


class NvidiaProvider(OpenAIProvider):
    """See the module."""

    Options = NvidiaOptions

    def __init__(self, id: str, options: NvidiaOptions) -> None:
        super().__init__(id, options)
        self._hosted = options.base_url == HOSTED

    def capabilities(self, model: str) -> Capabilities:
        refused = self._refused.get(model, frozenset())
        return replace(
            super().capabilities(model),
            structured_output=self._options.structured_output
            and not {"response_format", "nvext"} <= refused,
            chat_template=not self._hosted and "chat_template" not in refused,
        )

    async def models(self) -> tuple[str, ...]:
        return cast(NvidiaOptions, self._options).models or await super().models()

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        body, notes = super()._body(request, refused)
        if request.chat_template is not None and not self._hosted:
            body["chat_template"] = request.chat_template
            if "chat_template" in refused:
                del body["chat_template"]
                notes = (*notes, "chat_template: not taken by this model")
        return body, notes

    # --- the queue -----------------------------------------------------------------------------

    async def _fetched(
        self, response: ClientResponse, by: float, option: str, stack: AsyncExitStack
    ) -> ClientResponse:
        if response.status != QUEUED or (id := await _id_in(response)) is None:
            return response
        # The catalogue's models answer below the base URL, Cloud Functions at the root.
        places = [(f"/status/{id}", False), (f"/v2/nvcf/pexec/status/{id}", True)]
        polled = response
        while polled.status == QUEUED:
            await self._until(by, asyncio.sleep(POLLED_EVERY), option, sent=True)
            path, at_root = places[0]
            headers = await self._until(by, self._signed(), option, sent=True)
            asking = self._http.get(path, headers=headers, at_root=at_root)
            got = await stack.enter_async_context(await self._until(by, asking, option, sent=True))
            if got.status == 404 and len(places) > 1:
                del places[0]
                continue
            polled = got
        return polled

    def _without_format(
        self, body: dict[str, Any], schema: dict[str, Any], refused: Set[str]
    ) -> Notes:
        if not self._options.structured_output or "nvext" in refused:
            return super()._without_format(body, schema, refused)
        # The first releases of NIM take a schema only there.
        body["nvext"] = {**body.get("nvext", {}), "guided_json": schema}
        return ("response_format: not taken by this model, so guided_json was sent",)

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        ours = (key for key in ("nvext", "chat_template") if key in body)
        return (*super()._negotiable(body), *ours)

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        if said.status == QUEUED:
            return ProviderUnavailable(
                f"provider {self.id!r} has put the request for {model!r} into a queue (202) and not"
                " told its id: ask later"
            ).after_work()
        if self._hosted and said.status in (404, 410):
            # Its list names models that are gone, or that this account may not use.
            return ModelNotFound(
                f"provider {self.id!r} does not serve {model!r} to this account ({said.status}):"
                f" choose one that build.nvidia.com offers it. It says: {said.message}"
            )
        return super()._refused_as(said, model)


async def _id_in(response: ClientResponse) -> str | None:
    """The id of a request in a queue; None where none is told."""
    id = response.headers.get("NVCF-REQID")
    if id is None:
        try:
            id = orjson.loads(await read(response.content, 64 * 1024))["requestId"]
        except (ValueError, KeyError, TypeError):
            return None
    return id if isinstance(id, str) and _ID.fullmatch(id) else None
