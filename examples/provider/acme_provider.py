"""The provider `acme`: an API of its own, in one file.

It posts `{"model", "turns", ...}` to `/say`, and reads events: `{"say": "..."}` for each piece, and
`{"over": "done", "read": 10, "wrote": 5}` at the end. Time limits, cancellation, keys, retries and
the errors of HTTP are those of `HttpProvider`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from actors.providers.assembly import Assembly, Notes, Piece, text_of
from actors.providers.http_options import Address, HttpOptions
from actors.providers.http_provider import HttpProvider
from actors.providers.port import ChatRequest, Finished
from events.values import Usage

REASONS = {"done": "stop", "limit": "length"}


class AcmeOptions(HttpOptions):
    """What may stand in the `config` of a provider of this type."""

    base_url: Address


class AcmeProvider(HttpProvider):
    """See the module."""

    Options = AcmeOptions

    def __init__(self, id: str, options: AcmeOptions) -> None:
        super().__init__(id, options, options.base_url, {"X-Acme-Key": options.key or ""})
        self._options = options

    async def models(self) -> tuple[str, ...]:
        """The names that the server lists."""
        return self._listed(await self._get("/models"), "models", "name")

    def _path(self, request: ChatRequest) -> str:
        return "/say"

    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        asked = request.parameters
        given = {
            "heat": asked.temperature,
            "limit": asked.max_tokens,
            "until": list(asked.stop) or None,
        }
        body = {
            "turns": [{"who": said.role, "text": said.content} for said in request.messages],
            **{key: value for key, value in given.items() if value is not None},
            **asked.extra,
            "model": request.model,
            "live": self._options.stream,
        }
        # What is ignored is noted with the answer.
        return body, () if asked.seed is None else ("seed: this API takes none",)

    def _assembly(self, request: ChatRequest) -> Assembly:
        return AcmeAnswer(self.id)


class AcmeAnswer(Assembly):
    """One answer, put together from its items."""

    FORM = "Acme's answers"

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._usage: dict[str, Any] = {}

    def _pieces(self, item: dict[str, Any]) -> Iterable[Piece]:
        self.error = item.get("error")
        if over := item.get("over"):
            self.finish_reason = REASONS.get(text_of(over), text_of(over))
            self._usage = {"read": int(item["read"]), "wrote": int(item["wrote"])}
            self.done = True
        return [("text", text_of(item["say"]))] if item.get("say") else []

    def _finished(self, finish_reason: str, notes: Notes) -> Finished:
        usage = Usage(input=self._usage["read"], output=self._usage["wrote"])
        return Finished(finish_reason, usage=usage, usage_raw=self._usage, notes=notes)
