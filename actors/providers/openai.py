"""The provider `openai`: OpenAI, and every server that speaks its chat completions.

It speaks HTTP through aiohttp and reads the stream itself. The `openai` package would take five to
ten times the processor time for each call and a second to import; what it adds to a POST with a
bearer token, the mapping of errors, has its place in `http_errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Set
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from actors.prices import PriceTable
from actors.providers.chat_completions import ChatAnswer, body_of
from actors.providers.http_client import HttpClient, read
from actors.providers.http_errors import Refusal, refusal_of, to_error
from actors.providers.options import Options
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished, Limits
from actors.providers.sse import Decoder, Format
from actors.providers.watch import Watch
from events.errors import (
    BadResponse,
    ContentFiltered,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Cost, Usage

if TYPE_CHECKING:
    from aiohttp import ClientResponse, StreamReader

OFFICIAL: Final = "https://api.openai.com/v1"
LONGEST_LIST: Final = 4 * 1024 * 1024  # bytes of a list of models
LIST_WITHIN: Final = 10.0  # seconds
LAST_BYTES_WITHIN: Final = 0.1  # seconds for the end of a stream, so that its connection is kept

_FORMATS: Final[dict[str, Format]] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
_OTHER_LENGTH_KEY: Final = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}


class OpenAIOptions(Options):
    """Options of type `openai`; time-outs are in seconds.

    `headers` are sent with every request. `structured_output` false never sends a schema.
    `context_length` is that of the models where the server does not tell.
    """

    base_url: str = OFFICIAL
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    connect_timeout: float = Field(default=10.0, gt=0)
    first_token_timeout: float = Field(default=120.0, gt=0)
    stall_timeout: float = Field(default=60.0, gt=0)
    structured_output: bool = True
    context_length: int | None = Field(default=None, ge=1)

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if "${" in url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it must be an address such as http://127.0.0.1:8080/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("it must hold no credentials, query or fragment: use api_key, headers")
        return url.rstrip("/")


class OpenAIProvider:
    """See the module; implements `actors.providers.port.Provider`."""

    Options = OpenAIOptions

    def __init__(self, id: str, options: OpenAIOptions) -> None:
        self.id = id
        self._options = options
        headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        if options.api_key is not None:
            headers["Authorization"] = f"Bearer {options.api_key.get_secret_value().strip()}"
        self._http = HttpClient(
            id, options.base_url, headers, connect_timeout=options.connect_timeout
        )
        self._prices = PriceTable(options.base_url)
        # What each model was found not to take, so that it is refused only once.
        self._refused: dict[str, frozenset[str]] = {}
        newest = urlsplit(options.base_url).hostname == urlsplit(OFFICIAL).hostname
        self._length_key = "max_completion_tokens" if newest else "max_tokens"

    @property
    def limits(self) -> Limits:
        return self._options.limits

    def capabilities(self, model: str) -> Capabilities:
        refused = self._refused.get(model, ())
        return Capabilities(
            structured_output=self._options.structured_output and "response_format" not in refused,
            tools=True,
            context_length=self._options.context_length,
        )

    def cost(self, model: str, usage: Usage) -> Cost | None:
        return self._prices.cost(model, usage)

    async def close(self) -> None:
        await self._http.close()

    # --- answers -------------------------------------------------------------------------------

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        clock = asyncio.get_running_loop().time
        by, option = clock() + self._options.first_token_timeout, "first_token_timeout"
        async with self._http.guarded(), contextlib.AsyncExitStack() as stack:
            response, notes = await self._accepted(request, by, stack)
            decoder = Decoder(_FORMATS[response.content_type])
            answer = ChatAnswer()
            watch = stack.enter_context(
                contextlib.closing(Watch(response.content, lambda: self._too_late(option)))
            )
            while not decoder.done:
                chunk = await watch.read(by)
                for delta in answer.take(decoder.feed(chunk) if chunk else decoder.finish()):
                    yield delta
                    option = "stall_timeout"
                if answer.error:
                    raise self._inner_error(answer.error, request.model)
                if fault := decoder.fault or answer.fault:
                    raise fault
                if option == "stall_timeout":
                    by = clock() + self._options.stall_timeout
                if not chunk:
                    break
            if answer.finish_reason == "content_filter":
                raise ContentFiltered(
                    f"provider {self.id!r} broke the answer off because of its content:"
                    " change what is asked"
                )
            finished = answer.finished(notes)
            await self._read_last(response.content)
            yield finished

    async def _accepted(
        self, request: ChatRequest, by: float, stack: contextlib.AsyncExitStack
    ) -> tuple[ClientResponse, tuple[str, ...]]:
        """The response that streams the answer, and what was left out of the request for it."""
        known = self._refused.get(request.model, frozenset())
        refused = set(known)
        while True:
            body, notes = self._body(request, refused)
            response = await stack.enter_async_context(await self._post(body, by))
            if response.status == 200 and response.content_type in _FORMATS:
                if refused != known:
                    self._refused[request.model] = frozenset(refused)
                return response, notes
            said = await self._http.refusal(response)
            await stack.aclose()
            key = next((key for key in self._negotiable(body) if said.is_about(key)), None)
            if key is None or key in refused:
                raise self._error(response, said, request.model)
            refused.add(key)

    def _body(
        self, request: ChatRequest, refused: Set[str]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        length_key = self._length_key
        if length_key in refused:
            length_key = _OTHER_LENGTH_KEY[length_key]
        structured = self._options.structured_output and "response_format" not in refused
        body = body_of(request, structured=structured, length_key=length_key)
        notes = []
        if request.parameters.schema_ is not None and not structured:
            notes.append("response_format: not taken by this server, so the schema was not sent")
        if "stream_options" in refused:
            body.pop("stream_options", None)
        return body, tuple(notes)

    def _negotiable(self, body: dict[str, Any]) -> list[str]:
        """Keys of the body that a server may refuse, to be left out or named otherwise then."""
        keys = ("response_format", "stream_options", self._length_key)
        return [key for key in keys if key in body]

    async def _post(self, body: dict[str, Any], by: float) -> ClientResponse:
        timer = asyncio.timeout_at(by)
        try:
            async with timer:
                return await self._http.post("/chat/completions", body, accept="text/event-stream")
        except TimeoutError:
            if not timer.expired():
                raise
        raise self._too_late("first_token_timeout")

    def _too_late(self, option: str) -> ProviderError:
        """The error of a time-out; `option` is how it is called in the configuration."""
        seconds = getattr(self._options, option)
        what = "nothing came" if option == "first_token_timeout" else "the answer stalled"
        return ProviderUnavailable(
            f"provider {self.id!r}: {what} for {seconds:g} s: ask again, or raise {option}"
        )

    async def _read_last(self, content: StreamReader) -> None:
        """Read what follows the last event, normally nothing, so that the connection is kept."""
        if content.at_eof():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_BYTES_WITHIN):
                while not content.at_eof():
                    await content.readany()

    # --- lists ---------------------------------------------------------------------------------

    async def models(self) -> tuple[str, ...]:
        async with (
            self._http.guarded(),
            asyncio.timeout(LIST_WITHIN),
            await self._http.get("/models") as response,
        ):
            if response.status != 200:
                raise to_error(await self._http.refusal(response), self.id, "")
            body = await read(response.content, LONGEST_LIST)
        try:
            listed = [model["id"] for model in orjson.loads(body)["data"]]
            return tuple(name for name in listed if isinstance(name, str))
        except (ValueError, KeyError, TypeError):
            raise BadResponse(
                f"provider {self.id!r} does not list its models as OpenAI does"
            ) from None

    # --- errors --------------------------------------------------------------------------------

    def _error(self, response: ClientResponse, said: Refusal, model: str) -> ProviderError:
        if response.status != 200:
            return to_error(said, self.id, model)
        return BadResponse(
            f"provider {self.id!r} answers with {response.content_type!r} instead of a stream:"
            f" check that base_url is the address of its API. It says: {said.message}"
        )

    def _inner_error(self, error: Any, model: str) -> ProviderError:
        """The error that stands within a stream."""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else _status_of(error)
        return to_error(refusal_of(error, status, {}, self._http.secrets), self.id, model)


def _status_of(error: Any) -> int:
    """The status that an error within a stream would have had, by its type."""
    kind = str(error.get("type") or error.get("code") or "") if isinstance(error, dict) else ""
    for word, status in (
        ("rate_limit", 429),
        ("insufficient_quota", 429),
        ("authentication", 401),
        ("permission", 403),
        ("not_found", 404),
        ("invalid_request", 400),
        ("exceed_context", 400),
        ("context_length", 400),
        ("content", 400),
    ):
        if word in kind:
            return status
    return 500
