"""HTTP as providers use it: one pool of connections, and errors of ours alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urljoin, urlsplit

import orjson

from actors.providers.http_errors import Refusal, Secrets, proxy_refuses, refusal
from actors.providers.proxy import proxy_for
from events.errors import BadResponse, ConfigError, ProviderError, ProviderUnavailable

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, StreamReader

    from actors.providers.kept_connections import KeptConnections

AGENT: Final = "control-room"
KEPT: Final = 30.0  # seconds that an idle connection is kept
ERROR_WITHIN: Final = 5.0  # seconds for the body of a refusal
LONGEST_ERROR: Final = 64 * 1024  # bytes of a refusal that are read


class HttpClient:
    """The connections of one provider. `headers` go with every request.

    Redirects are not followed: a key is for the address that was configured. Nothing that is posted
    is sent twice.
    """

    def __init__(
        self, provider: str, base_url: str, headers: Mapping[str, str], *, connect_timeout: float
    ) -> None:
        if any(not f"{name}{value}".isprintable() for name, value in headers.items()):
            raise ConfigError(f"provider {provider!r}: api_key or a header holds a line break")
        # Providers are made in a thread; imported later, it would hold up the event loop.
        import_module("aiohttp")
        self._provider = provider
        self._base_url = base_url
        self._headers = dict(headers)
        self._connect_timeout = connect_timeout
        self._kept: ClientSession | None = None
        self.secrets = Secrets(
            part for value in headers.values() for part in (value, value.removeprefix("Bearer "))
        )
        # aiohttp's `trust_env` would look for the proxy anew, in a thread, for each request, and
        # its errors would hold the proxy's address with all that stands in it.
        self._proxy = proxy_for(base_url)
        self._proxy_headers = self._proxy.headers if self._proxy else {}
        self.secrets.add(*(self._proxy.secrets if self._proxy else ()))

    async def post(
        self, path: str, body: Any, *, accept: str, headers: Mapping[str, str] | None = None
    ) -> ClientResponse:
        """The response to `body` as JSON, as soon as its headers are there."""
        headers = {"Content-Type": "application/json", "Accept": accept, **(headers or {})}
        import aiohttp

        session = self._session()
        try:
            return await session.post(
                self._base_url + path,
                data=orjson.dumps(body),
                headers=headers,
                allow_redirects=False,
                proxy_headers=self._proxy_headers,
            )
        except aiohttp.ClientConnectionError:
            cast("KeptConnections", session.connector).doubt()
            raise

    async def post_form(self, path: str, fields: Mapping[str, str]) -> ClientResponse:
        """The response to an HTML form, as soon as its headers are there."""
        return await self._session().post(
            self._base_url + path,
            data=dict(fields),
            allow_redirects=False,
            proxy_headers=self._proxy_headers,
        )

    async def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, at_root: bool = False
    ) -> ClientResponse:
        """The response, as soon as its headers are there.

        `path` goes on from the base URL, or stands `at_root` of its host.
        """
        return await self._session().get(
            urljoin(self._base_url, path) if at_root else self._base_url + path,
            headers=headers,
            allow_redirects=False,
            proxy_headers=self._proxy_headers,
        )

    async def close(self) -> None:
        """Give back all connections."""
        if self._kept is not None:
            await self._kept.close()
        self._kept = None

    async def refusal(self, response: ClientResponse) -> Refusal:
        """What stands in a response that is no answer."""
        body = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ERROR_WITHIN):
                body = await read(response.content, LONGEST_ERROR)
        return refusal(response.status, body, response.headers, self.secrets)

    @contextlib.asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Within this only errors of ours come out, and none of them holds a secret."""
        import aiohttp

        who = f"provider {self._provider!r}"
        try:
            yield
        except ProviderError:
            raise
        except aiohttp.ClientPayloadError:
            raise BadResponse(
                f"{who} broke the connection before the answer was complete: ask again"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = str(error)
            if isinstance(error, aiohttp.ClientResponseError):
                if error.status == 407:
                    raise proxy_refuses(who) from None
                why = f"{error.status} {error.message}"  # its text may hold any address
            why = self.secrets.hidden(why) or type(error).__name__
            where = self.secrets.hidden(urlsplit(self._base_url).netloc)
            raise ProviderUnavailable(
                f"{who} cannot be reached at {where}: start it or check its address ({why})"
            ) from None

    def _session(self) -> ClientSession:
        """The session, opened when it is first used."""
        if self._kept is None:
            self._kept = self._opened()
        return self._kept

    def _opened(self) -> ClientSession:
        import aiohttp

        from actors.providers.kept_connections import KeptConnections

        return aiohttp.ClientSession(
            connector=KeptConnections(keepalive_timeout=KEPT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **self._headers},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            proxy=self._proxy.address if self._proxy else None,
        )


async def read(content: StreamReader, most: int) -> bytes:
    """The whole body, or its first `most` bytes."""
    parts, size = [], 0
    while size < most and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:most]
