"""The provider `azure_openai`: chat completions of the deployments of one Azure OpenAI resource.

Dated API versions address a deployment in the path; the newer surface under `/openai/v1` takes its
name as the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any, Final, Self, cast
from urllib.parse import quote

from pydantic import Field, SecretStr, model_validator

from actors.providers.assembly import Assembly, Notes, Piece
from actors.providers.chat_completions import ChatAnswer
from actors.providers.entra import EntraOptions, EntraToken
from actors.providers.http_errors import Refusal
from actors.providers.http_options import Address
from actors.providers.openai import OpenAIOptions, OpenAIProvider, ResponsesOptions
from actors.providers.port import Capabilities, ChatRequest
from events.errors import ContentFiltered, ModelNotFound, ProviderError
from events.values import Value

UNDATED: Final = ("v1", "preview", "latest")
"""Versions that name the newer surface, as having none does."""


class Deployment(Value):
    """A deployed model: its name at Azure, and how many tokens it takes."""

    name: str = Field(min_length=1)
    context_length: int | None = Field(default=None, ge=1)


class AzureOptions(ResponsesOptions):
    """Options of type `azure_openai`: one of `api_key`, `azure_ad_token` and `entra`.

    `deployments` are by the names that participants use.
    """

    base_url: Address = Field(alias="endpoint")
    api_version: str = "v1"
    deployments: dict[str, Deployment] = Field(min_length=1)
    azure_ad_token: SecretStr | None = None
    entra: EntraOptions | None = None

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        given = [self.api_key, self.azure_ad_token, self.entra]
        if sum(each is not None for each in given) > 1:
            raise ValueError("give only one of api_key, azure_ad_token and entra")
        return self


class AzureProvider(OpenAIProvider):
    """See the module."""

    Options = AzureOptions

    def __init__(self, id: str, options: AzureOptions) -> None:
        super().__init__(id, options)
        self._azure = options
        self._entra = None
        if options.entra is not None:
            self._entra = EntraToken(
                id, options.entra, self._http.secrets, connect_timeout=options.connect_timeout
            )

    def _credentials(self, options: OpenAIOptions) -> dict[str, str]:
        token = cast(AzureOptions, options).azure_ad_token
        if token is not None:
            return {"Authorization": f"Bearer {token.get_secret_value().strip()}"}
        return {} if options.key is None else {"api-key": options.key}

    async def _signed(self) -> Mapping[str, str]:
        if self._entra is None:
            return {}
        return {"Authorization": f"Bearer {await self._entra.bearer()}"}

    async def close(self) -> None:
        if self._entra is not None:
            await self._entra.close()
        await super().close()

    def capabilities(self, model: str) -> Capabilities:
        deployment = self._azure.deployments.get(model)
        length = deployment and deployment.context_length
        able = super().capabilities(model)
        return replace(able, context_length=length or able.context_length)

    async def models(self) -> tuple[str, ...]:
        return tuple(self._azure.deployments)

    # --- the request ---------------------------------------------------------------------------

    def _deployment(self, model: str) -> Deployment:
        deployment = self._azure.deployments.get(model)
        if deployment is None:
            raise ModelNotFound(
                f"provider {self.id!r} has no deployment for model {model!r}: add it to its"
                f" deployments, or use one of {', '.join(self._azure.deployments)}"
            )
        return deployment

    def _path(self, request: ChatRequest) -> str:
        version = self._azure.api_version
        name = quote(self._deployment(request.model).name, safe="")
        if version in UNDATED:
            # Only what is not released yet has to be asked for.
            query = "" if version == "v1" else f"?api-version={version}"
            return f"/openai/v1{super()._path(request)}{query}"
        version = quote(version, safe="")
        if self._responses:
            return f"/openai/responses?api-version={version}"
        return f"/openai/deployments/{name}/chat/completions?api-version={version}"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        name = self._deployment(request.model).name
        return super()._body(replace(request, model=name), refused)

    def _assembly(self, request: ChatRequest) -> Assembly:
        if self._responses:
            return super()._assembly(request)
        return AzureAnswer(self.id, self._stops_kept(request))

    # --- errors --------------------------------------------------------------------------------

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        if self._entra is not None and said.status == 401:
            self._entra.forget()
        error = super()._refused_as(said, model)
        if isinstance(error, ModelNotFound) and (known := self._azure.deployments.get(model)):
            return ModelNotFound(
                f"provider {self.id!r} finds no deployment {known.name!r} for model {model!r}"
                f" (404): check deployments, endpoint and api_version. It says: {said.message}"
            )
        if isinstance(error, ContentFiltered) and (found := _found_by_filter(said.content)):
            found = self._http.secrets.hidden(found)
            return ContentFiltered(
                f"provider {self.id!r} refuses the content ({found}): change what is asked."
                f" It says: {said.message}"
            )
        return error


class AzureAnswer(ChatAnswer):
    """An answer of chat completions with what the content filter says of it."""

    def _pieces(self, item: dict[str, Any]) -> list[Piece]:
        pieces = super()._pieces(item)
        for choice in item.get("choices") or ():
            # An asynchronous filter may tell of it after the reason to finish, or before.
            if found := filtered_categories(choice.get("content_filter_results")):
                self.filtered = found
        return pieces


def filtered_categories(results: Any) -> str:
    """The categories for which something was filtered, each with its severity."""
    if not isinstance(results, Mapping):
        return ""
    found = []
    for name, result in results.items():
        if isinstance(result, Mapping) and result.get("filtered"):
            severity = result.get("severity")
            found.append(f"{name}, severity {severity}" if severity else str(name))
        elif isinstance(result, list) and any(
            isinstance(each, Mapping) and each.get("filtered") for each in result
        ):
            found.append(str(name))  # lists of blocked words, in older versions
    return "; ".join(found)


def _found_by_filter(content: Any) -> str:
    """The same from the body of a refusal."""
    for key in ("error", "innererror"):
        content = content.get(key, content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping):
        return ""
    return filtered_categories(
        content.get("content_filter_result") or content.get("content_filter_results")
    )
