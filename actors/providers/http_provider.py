"""What all providers that are asked over HTTP have in common.

A subclass says how its API is addressed (`_path`, `_body`), how the items of an answer are put
together (`_assembly`), and where its errors differ (`_refused_as`); this asks, streams, keeps the
time limits, and cancels.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Mapping, Set
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from actors.prices import PriceTable, given_for
from actors.providers.assembly import Assembly, Notes
from actors.providers.http_client import HttpClient, read
from actors.providers.http_errors import Refusal, refusal_of, status_within, to_error
from actors.providers.http_options import HttpOptions
from actors.providers.pace import Pace
from actors.providers.port import Capabilities, ChatRequest, Delta, Finished, Limits
from actors.providers.sse import Decoder, Format
from actors.providers.watch import Watch
from events.errors import BadResponse, ProviderError, ProviderUnavailable
from events.prices import Prices

if TYPE_CHECKING:
    from aiohttp import ClientResponse, StreamReader

LONGEST_LIST: Final = 4 * 1024 * 1024  # bytes of a list of models
LIST_WITHIN: Final = 10.0  # seconds
LAST_BYTES_WITHIN: Final = 0.1  # seconds for the end of a stream, so that its connection is kept

T = TypeVar("T")

FORMATS: Final[Mapping[str, Format]] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
}


class _Work:
    """Marks the errors that come once `accepted` is set."""

    accepted = False

    async def __aenter__(self) -> _Work:
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.accepted and isinstance(error, ProviderError):
            error.after_work()


class HttpProvider(ABC):
    """See the module; with its subclasses implements `actors.providers.port.Provider`."""

    def __init__(
        self, id: str, options: HttpOptions, base_url: str, headers: Mapping[str, str]
    ) -> None:
        """`headers` hold the credentials; those of the options are sent too."""
        self.id = id
        self._settings = options
        given = {name: value.get_secret_value() for name, value in options.headers.items()}
        self._http = HttpClient(
            id, base_url, {**given, **headers}, connect_timeout=options.connect_timeout
        )
        self._prices = PriceTable(base_url)
        # What each model was found not to take, so that it is refused only once.
        self._refused: dict[str, frozenset[str]] = {}
        self._paces: dict[str, Pace] = {}
        self._heard = False

    @property
    def limits(self) -> Limits:
        return self._settings.limits

    def capabilities(self, model: str) -> Capabilities:
        return Capabilities(context_length=self._settings.context_length)

    def prices(self, model: str) -> Prices | None:
        return given_for(model, self._settings.prices) or self._prices.prices(model)

    def served_prices(self, model: str, served: str) -> Prices | None:
        """What an answer costs that `served` gave in place of `model`.

        What the provider file says of either goes before the vendor's list.
        """
        given = given_for(model, self._settings.prices, served)
        return given or self._prices.prices(served) or self._prices.prices(model)

    def pace(self, model: str) -> Pace:
        """What is known of the rate limits of `model`: always the same object."""
        return self._paces.setdefault(model, Pace())

    async def close(self) -> None:
        await self._http.close()

    async def check(self) -> None:
        """Raise a `ProviderError` where the server does not answer.

        It is asked for its models; where those are configured, for whatever is at its address.
        """
        self._heard = False
        await self.models()
        if not self._heard:
            async with self._http.guarded(), asyncio.timeout(LIST_WITHIN):
                (await self._http.get("")).close()

    def hide(self, *texts: str) -> None:
        """Say none of these in an error."""
        self._http.secrets.add(*texts)

    # --- what a subclass says ------------------------------------------------------------------

    async def _learn(self, request: ChatRequest) -> None:  # noqa: B027 - most types need not ask
        """Ask the server what must be known of the model, or of itself, before the request."""

    async def _fetched(
        self, response: ClientResponse, by: float, option: str, stack: contextlib.AsyncExitStack
    ) -> ClientResponse:
        """The response that brings the answer, where the first one only tells where it will be."""
        return response

    @abstractmethod
    async def models(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _path(self, request: ChatRequest) -> str:
        """Where the request is posted, from the base URL on."""

    @abstractmethod
    def _body(self, request: ChatRequest, refused: Set[str]) -> tuple[dict[str, Any], Notes]:
        """The body without the keys that the server was found to refuse, and what that means."""

    @abstractmethod
    def _assembly(self, request: ChatRequest) -> Assembly:
        """What puts the answer together."""

    def _whole(self) -> bool:
        """Whether answers come all at once, and nothing before that."""
        return not self._settings.stream

    def _format(self, content_type: str) -> Format | None:
        """How an answer of that content type is read; None where it is no answer."""
        return FORMATS.get(content_type)

    def _negotiable(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Keys of the body that a server may refuse, to be left out or named otherwise then.

        As `key=value` where it may refuse that value alone.
        """
        return ()

    async def _signed(self) -> Mapping[str, str]:
        """Headers of credentials that change, such as a token that is fetched and renewed."""
        return {}

    def _refused_as(self, said: Refusal, model: str) -> ProviderError:
        """The error that a refusal is, before the answer or within its stream."""
        return to_error(said, self.id, model)

    # --- answers -------------------------------------------------------------------------------

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta | Finished, None]:
        clock = asyncio.get_running_loop().time
        began, option = clock(), "first_token_timeout"
        by = began + self._settings.first_token_timeout
        async with _Work() as work, self._http.guarded(), contextlib.AsyncExitStack() as stack:
            await self._until(by, self._learn(request), option)
            if self._whole():
                option, by = "answer_timeout", began + self._settings.answer_timeout
            response, notes = await self._accepted(request, by, option, stack)
            work.accepted = True
            decoder = Decoder(self._format(response.content_type) or "json")
            answer = self._assembly(request)
            watch = stack.enter_context(
                contextlib.closing(Watch(response.content, lambda: self._too_late(option)))
            )
            more = True
            while more:
                chunk = await watch.read(by)
                for delta in answer.take(decoder.feed(chunk) if chunk else decoder.finish()):
                    yield delta
                if answer.error:
                    raise self._inner_error(answer.error, request.model)
                if answer.fault:
                    raise answer.fault
                if answer.done:  # what comes after the end does not count, even in the same chunk
                    break
                if decoder.fault:
                    raise decoder.fault
                if option != "answer_timeout":
                    later = clock() + self._settings.stall_timeout
                    # Thinking that is not shown may still take as long as a first piece may.
                    if answer.grown or (answer.at_work and later > by):
                        by, option = later, "stall_timeout"
                more = bool(chunk) and not decoder.done
            if decoder.done:
                answer.mark_end()
            finished = answer.finished(notes)
            await self._read_last(response.content)
            yield finished

    async def _accepted(
        self, request: ChatRequest, by: float, option: str, stack: contextlib.AsyncExitStack
    ) -> tuple[ClientResponse, Notes]:
        """The response that brings the answer, and what was left out of the request for it."""
        known = self._refused.get(request.model, frozenset())
        refused = set(known)
        path = self._path(request)
        while True:
            body, notes = self._body(request, refused)
            headers = await self._until(by, self._signed(), option)
            asking = self._http.post(
                path, body, accept="text/event-stream, */*;q=0.5", headers=headers
            )
            posted = await self._until(by, asking, option, sent=True)
            first = await stack.enter_async_context(posted)
            response = await self._fetched(first, by, option, stack)
            limited = response.status == 429
            self.pace(request.model).learn(response.headers, limited=limited)
            if response.status == 200 and self._format(response.content_type):
                if refused != known:
                    self._refused[request.model] = frozenset(refused)
                return response, notes
            said = await self._http.refusal(response)
            await stack.aclose()
            keys = self._negotiable(body)
            key = next((key for key in keys if said.is_about(key.partition("=")[0])), None)
            if key is None or key in refused or response is not first:
                error = self._error(response, said, request.model)
                raise error if response is first else error.after_work()
            refused.add(key)

    async def _until(
        self, by: float, asking: Awaitable[T], option: str, *, sent: bool = False
    ) -> T:
        """What it gives, or the error of an answer that did not begin in time.

        `sent` tells that the server may be at work on the answer then.
        """
        timer = asyncio.timeout_at(by)
        try:
            async with timer:
                return await asking
        except TimeoutError:
            if not timer.expired():
                raise
        late = self._too_late(option)
        raise late.after_work() if sent else late

    def _too_late(self, option: str) -> ProviderError:
        """The error of a time-out; `option` is how it is called in the configuration."""
        seconds = getattr(self._settings, option)
        what = "the answer stalled" if option == "stall_timeout" else "nothing came"
        return ProviderUnavailable(
            f"provider {self.id!r}: {what} for {seconds:g} s: ask again, or raise {option}"
        )

    async def _read_last(self, content: StreamReader) -> None:
        """Read what follows the last event, normally nothing, so that the connection is kept."""
        if content.at_eof():
            return
        from aiohttp import ClientError

        # The answer is complete: that its connection is lost now, or closed by us, is no fault.
        with contextlib.suppress(TimeoutError, ClientError, OSError, RuntimeError):
            async with asyncio.timeout(LAST_BYTES_WITHIN):
                while not content.at_eof():
                    await content.readany()

    # --- other requests ------------------------------------------------------------------------

    async def _get(self, path: str, body: Any = None, *, model: str = "") -> Any:
        """The JSON that the server answers there, such as its list of models.

        `body` is posted where there is one; `model` is what an error is about.
        """
        async with (
            self._http.guarded(),
            asyncio.timeout(LIST_WITHIN),
            await self._got(path, body) as response,
        ):
            self._heard = True
            if response.status != 200:
                raise self._refused_as(await self._http.refusal(response), model)
            body = await read(response.content, LONGEST_LIST)
        try:
            return orjson.loads(body)
        except ValueError:
            raise self._no_list() from None

    async def _got(self, path: str, body: Any) -> ClientResponse:
        headers = await self._signed()
        if body is None:
            return await self._http.get(path, headers=headers)
        return await self._http.post(path, body, accept="application/json", headers=headers)

    def _listed(self, content: Any, key: str, name: str) -> tuple[str, ...]:
        """The texts under `name` of each object in the list under `key`."""
        try:
            names = [each[name] for each in content[key]]
        except (KeyError, TypeError):
            raise self._no_list() from None
        return tuple(each for each in names if isinstance(each, str))

    def _no_list(self) -> BadResponse:
        return BadResponse(
            f"provider {self.id!r} does not list its models as its type does: check its type and"
            " address"
        )

    # --- errors --------------------------------------------------------------------------------

    def _error(self, response: ClientResponse, said: Refusal, model: str) -> ProviderError:
        if response.status != 200:
            return self._refused_as(said, model)
        return BadResponse(
            f"provider {self.id!r} answers with {response.content_type!r} instead of a stream:"
            f" check that its address is that of its API. It says: {said.message}"
        ).after_work()

    def _inner_error(self, error: Any, model: str) -> ProviderError:
        """The error that stands within a stream."""
        said = refusal_of(error, status_within(error), {}, self._http.secrets)
        return self._refused_as(said, model)
