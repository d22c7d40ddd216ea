"""The provider `openai`: OpenAI, and every server that speaks its chat completions.

It speaks HTTP through aiohttp and reads the stream itself. The `openai` package would take five to
ten times the processor time for each call and a second to import; what it adds to a POST with a
bearer token, the mapping of errors, has its place in `http_errors`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Set
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr, field_validator

from actors.prices import PriceTable
from actors.providers.chat_completions import ChatAnswer, body_of
from actors.providers.http_errors import Refusal, Secrets, refusal, refusal_of, to_error
from actors.providers.options import Options
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished, Limits
from actors.providers.sse import Decoder, Format
from events.errors import (
    BadResponse,
    ConfigError,
    ContentFiltered,
    ProviderError,
    ProviderUnavailable,
)
from events.values import Cost, Usage

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, StreamReader

T = TypeVar("T")

OFFICIAL: Final = "https://api.openai.com/v1"
LONGEST_ERROR: Final = 64 * 1024  # bytes of a refusal that are read
LONGEST_LIST: Final = 4 * 1024 * 1024  # bytes of a list of models
LIST_WITHIN: Final = 10.0  # seconds
ERROR_WITHIN: Final = 5.0  # seconds for the body of a refusal
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
        self._url = f"{options.base_url}/chat/completions"
        headers = {name: value.get_secret_value() for name, value in options.headers.items()}
        if options.api_key is not None:
            headers["Authorization"] = f"Bearer {options.api_key.get_secret_value().strip()}"
        if any(not f"{name}{value}".isprintable() for name, value in headers.items()):
            raise ConfigError(f"provider {id!r}: api_key or a header holds a line break")
        self._headers = headers
        self._secrets = Secrets(
            part for value in headers.values() for part in (value, value.removeprefix("Bearer "))
        )
        self._prices = PriceTable(options.base_url)
        self._session: ClientSession | None = None
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
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- answers -------------------------------------------------------------------------------

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        clock = asyncio.get_running_loop().time
        by, option = clock() + self._options.first_token_timeout, "first_token_timeout"
        async with self._guarded(), contextlib.AsyncExitStack() as stack:
            response, notes = await self._accepted(request, by, stack)
            content = response.content
            decoder = Decoder(_FORMATS[response.content_type])
            answer = ChatAnswer()
            while not decoder.done:
                chunk = content.read_nowait() or await self._in_time(content.readany(), by, option)
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
            await self._read_last(content)
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
            said = await self._said(response)
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
        import aiohttp

        posted = self._client().post(
            self._url,
            data=orjson.dumps(body),
            headers={
                **self._headers,
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(sock_connect=self._options.connect_timeout),
            allow_redirects=False,
        )
        return await self._in_time(posted, by, "first_token_timeout")

    async def _in_time(self, awaited: Awaitable[T], by: float, option: str) -> T:
        """What is awaited, if it comes by then; `option` is the time-out that sets the limit."""
        timer = asyncio.timeout_at(by)
        try:
            async with timer:
                return await awaited
        except TimeoutError:
            if not timer.expired():
                raise
        seconds = getattr(self._options, option)
        what = "nothing came" if option == "first_token_timeout" else "the answer stalled"
        raise ProviderUnavailable(
            f"provider {self.id!r}: {what} for {seconds:g} s: ask again, or raise {option}"
        )

    async def _read_last(self, content: StreamReader) -> None:
        """Read what follows the last event, normally nothing, so that the connection is kept."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_BYTES_WITHIN):
                while not content.at_eof():
                    await content.readany()

    # --- lists ---------------------------------------------------------------------------------

    async def models(self) -> tuple[str, ...]:
        async with self._guarded():
            async with (
                asyncio.timeout(LIST_WITHIN),
                self._client().get(
                    f"{self._options.base_url}/models",
                    headers=self._headers,
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.content.read(LONGEST_LIST)
            if response.status != 200:
                said = refusal(response.status, body, response.headers, self._secrets)
                raise to_error(said, self.id, "")
            try:
                return tuple(str(model["id"]) for model in orjson.loads(body)["data"])
            except (ValueError, KeyError, TypeError):
                raise BadResponse(
                    f"provider {self.id!r} does not list its models as OpenAI does"
                ) from None

    # --- errors --------------------------------------------------------------------------------

    def _client(self) -> ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                # How many calls there are at once is the actor's decision.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=True,
            )
        return self._session

    async def _said(self, response: ClientResponse) -> Refusal:
        """What stands in a response that is no stream."""
        body = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ERROR_WITHIN):
                while len(body) < LONGEST_ERROR and (chunk := await response.content.readany()):
                    body += chunk
        return refusal(response.status, body[:LONGEST_ERROR], response.headers, self._secrets)

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
        return to_error(refusal_of(error, status, {}, self._secrets), self.id, model)

    @contextlib.asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """Only errors of ours come out, and none holds a secret."""
        import aiohttp

        where = urlsplit(self._options.base_url).netloc
        try:
            yield
        except ProviderError:
            raise
        except aiohttp.ClientPayloadError:
            raise BadResponse(
                f"provider {self.id!r} broke the connection before the answer was complete:"
                " ask again"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = self._secrets.hidden(str(error)) or type(error).__name__
            raise ProviderUnavailable(
                f"provider {self.id!r} cannot be reached at {where}: start it or check base_url"
                f" ({why})"
            ) from None


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
