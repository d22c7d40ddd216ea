"""The provider `nvidia`: NIM, hosted by NVIDIA or one's own, with its chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, Final, cast

from actors.providers.assembly import Notes
from actors.providers.http_errors import Refusal
from actors.providers.http_options import Address
from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.port import Capabilities, ChatRequest
from events.errors import ModelNotFound, ProviderError, ProviderUnavailable

HOSTED: Final = "https://integrate.api.nvidia.com/v1"


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
        if said.status == 202:
            return ProviderUnavailable(
                f"provider {self.id!r} has only put the request for {model!r} into a queue (202):"
                " ask later"
            )
        if self._hosted and said.status in (404, 410):
            # Its list names models that are gone, or that this account may not use.
            return ModelNotFound(
                f"provider {self.id!r} does not serve {model!r} to this account ({said.status}):"
                f" choose one that build.nvidia.com offers it. It says: {said.message}"
            )
        return super()._refused_as(said, model)
