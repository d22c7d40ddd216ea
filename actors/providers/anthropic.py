"""The provider `anthropic`: Claude by its native messages API."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

from pydantic import Field

from actors.providers.anthropic_messages import (
    MessagesAnswer,
    closed,
    conversation_of,
    goes_on_without_thinking,
    system_of,
)
from actors.providers.assembly import Assembly, Notes
from actors.providers.forced_calls import FORCED, NOTE, negotiable, told
from actors.providers.http_options import Address, HttpOptions
from actors.providers.http_provider import HttpProvider
from actors.providers.port import Capabilities, ChatRequest

_EPHEMERAL: Final = {"type": "ephemeral"}
_CHOICES: Final = {"none": {"type": "none"}, "required": {"type": "any"}}


class AnthropicOptions(HttpOptions):
    """Options of type `anthropic`.

    `max_tokens` bounds an answer whose participant sets no bound, which this API requires.
    `thinking` is sent as it is, such as `{"type": "adaptive"}`. `cache` has the system prompt
    cached. `structured_output` false never sends a schema. `api_version` is the API's: from
    2026-10-21 on no model takes `temperature` and `top_p`, before that some do.
    """

    base_url: Address = "https://api.anthropic.com"
    api_version: str = "2023-06-01"
    max_tokens: int = Field(default=8192, ge=1)
    thinking: dict[str, Any] | None = None
    cache: bool = False
    structured_output: bool = True


class AnthropicProvider(HttpProvider):
    """See the module."""

    Options = AnthropicOptions

    def __init__(self, id: str, options: AnthropicOptions) -> None:
        headers = {"anthropic-version": options.api_version}
        if options.key is not None:
            headers["x-api-key"] = options.key
        super().__init__(id, options, options.base_url, headers)
        self._options = options

    def capabilities(self, model: str) -> Capabilities:
        refused = self._refused.get(model, ())
        return Capabilities(
            structured_output=self._options.structured_output and "output_config" not in refused,
            tools=True,
            images=True,
            context_length=self._options.context_length,
        )

    async def models(self) -> tuple[str, ...]:
        return self._listed(await self._get("/v1/models?limit=1000"), "data", "id")

    # --- the request ---------------------------------------------------------------------------

    def _path(self, request: ChatRequest) -> str:
        return "/v1/messages"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        parameters = request.parameters
        thinking, notes = self._thinking(request)
        thinks = _thinks(parameters.extra.get("thinking", thinking))
        if request.tool_choice == "required" and (FORCED in refused or thinks):
            request = told(request)  # who thinks may not be forced, and some always think
            notes.append(NOTE)
        messages, said = conversation_of(request.messages)
        notes += said
        body: dict[str, Any] = {"messages": messages}
        if system := system_of(request.messages):
            block = {"type": "text", "text": system}
            body["system"] = (
                [{**block, "cache_control": _EPHEMERAL}] if self._options.cache else system
            )
        if thinking is not None:
            body["thinking"] = thinking
        if request.tools:
            body["tools"] = [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                }
                for tool in request.tools
            ]
        if parameters.stop:
            body["stop_sequences"] = list(parameters.stop)
        if parameters.seed is not None:
            notes.append("seed: this API takes none")
        notes += self._shape(body, request, refused)
        shape = body.get("output_config", {})
        body |= parameters.extra
        if request.tools and request.tool_choice is not None:
            body["tool_choice"] = _CHOICES[request.tool_choice]
        if shape and isinstance(more := parameters.extra.get("output_config"), dict):
            body["output_config"] = {**shape, **more}  # such as the effort, beside the schema
        notes += _length(body, request, self._options.max_tokens)
        notes += _sampling(body, request, refused)
        return {**body, "model": request.model, "stream": self._options.stream}, tuple(notes)

    def _thinking(self, request: ChatRequest) -> tuple[dict[str, Any] | None, list[str]]:
        """How it is to think, and why not."""
        thinking = self._options.thinking
        enabled = thinking is not None and thinking.get("type") == "enabled"
        if enabled and goes_on_without_thinking(request.messages):
            # Adaptive thinking may begin then, this may not.
            return None, ["thinking: left out, because the calls before came without"]
        return thinking, []

    def _shape(self, body: dict[str, Any], request: ChatRequest, refused: Set[str]) -> list[str]:
        schema = request.parameters.schema_
        if schema is None:
            return []
        if not self._options.structured_output or "output_config" in refused:
            return ["output_config: not taken by this model, so the schema was not sent"]
        taken = closed(schema)
        body["output_config"] = {"format": {"type": "json_schema", "schema": taken}}
        if taken == schema:
            return []
        return ["schema: sent with closed objects and without bounds, as this API wants it"]

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        # Some models take one of the two, and say so naming both; some take none.
        keys = ("output_config", "top_p", "temperature")
        forced = negotiable(body, _CHOICES["required"])
        return (*forced, *(key for key in keys if key in body))

    def _assembly(self, request: ChatRequest) -> Assembly:
        return MessagesAnswer(self.id)


def _length(body: dict[str, Any], request: ChatRequest, default: int) -> list[str]:
    """Bound the answer, the thinking included."""
    if "max_tokens" in body:
        return []
    if request.parameters.max_tokens is not None:
        body["max_tokens"] = request.parameters.max_tokens
        return []
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    body["max_tokens"] = default + (budget if isinstance(budget, int) else 0)
    return [f"max_tokens: {body['max_tokens']}, because this API requires a bound"]


def _thinks(thinking: Any) -> bool:
    return isinstance(thinking, dict) and thinking.get("type") != "disabled"


def _sampling(body: dict[str, Any], request: ChatRequest, refused: Set[str]) -> list[str]:
    """Add what steers the choice of words, as far as the model takes it."""
    notes = []
    thinks = _thinks(body.get("thinking"))
    given = {"temperature": request.parameters.temperature, "top_p": request.parameters.top_p}
    for key, value in given.items():
        if value is None or key in body:
            continue
        if key in refused:
            notes.append(f"{key}: not taken by this model, so it was not sent")
        elif thinks:
            notes.append(f"{key}: not taken together with thinking, so it was not sent")
        else:
            body[key] = min(value, 1.0)
            if value > 1:
                notes.append(f"{key}: 1 instead of {value:g}, the most that this API takes")
    return notes
