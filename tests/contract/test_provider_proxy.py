"""Secrets of addresses: the password of a proxy, a host; they are used, and are in no error."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import orjson
import pytest

from actors.providers.config import ProviderSpec, create
from actors.providers.http_errors import Secrets, refusal
from events.errors import AuthenticationFailed, ProviderError
from tests.contract.provider_calls import ASKED, listen, made
from tests.servers.chat import chat_server, whole

USER, PASSWORD = "bob", "marked-pw/+@5f:3b"
ENCODED = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CREDENTIALS = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture(autouse=True)
def _no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def proxy_that_says(reply: str) -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy that answers everything so: its port, and the heads of requests to it."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(reply.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


async def test_a_host_that_is_a_secret_is_in_no_error() -> None:
    spec = ProviderSpec(id="p", type="openai", config={"base_url": "http://${HOST}:1/v1"})
    provider = create(spec, {"HOST": "Marked-Host.invalid"})
    with pytest.raises(ProviderError) as caught:
        await listen(provider, ASKED)
    await provider.close()
    assert "marked" not in caught.value.message.lower()
    assert "[secret]:1" in caught.value.message


def test_a_secret_with_quotes_is_hidden_in_details_too() -> None:
    secret = 'pa"ss\\word-1234'
    body = orjson.dumps({"detail": [{"loc": ["header"], "input": secret, secret: 1}]})
    said = refusal(422, body, {}, Secrets([secret])).message
    assert said.count("[secret]") == 2
    assert "word-1234" not in said


async def failure_of(scheme: str) -> ProviderError:
    async with made("openai", base_url=f"{scheme}://models.example/v1") as provider:
        with pytest.raises(ProviderError) as caught:
            await asyncio.wait_for(listen(provider, ASKED), 10)
    return caught.value


async def test_the_credentials_go_to_the_proxy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with chat_server() as proxy:
        host = proxy.base_url.removesuffix("/v1").removeprefix("http://")
        monkeypatch.setenv("http_proxy", f"http://{CREDENTIALS}@{host}")
        proxy.reply(*whole("Hello"))
        config = {"base_url": "http://models.example/v1", "api_key": "${KEY}"}
        async with made("openai", **config) as provider:
            assert (await listen(provider, ASKED)).text == "Hello"
        headers = proxy.requests[0].headers
        assert headers["Proxy-Authorization"] == f"Basic {ENCODED}"
        assert headers["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_an_error_that_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with proxy_that_says(refused) as (port, heads):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://{CREDENTIALS}@127.0.0.1:{port}")
        error = await failure_of(scheme)
    assert f"Proxy-Authorization: Basic {ENCODED}" in heads[0]
    assert isinstance(error, AuthenticationFailed)
    assert not error.retryable
    assert "HTTPS_PROXY" in error.message


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_error_holds_what_opens_the_proxy(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    echo = f"{CREDENTIALS} {USER}:{PASSWORD} {PASSWORD} {quote(PASSWORD)} {ENCODED}"
    refused = f"HTTP/1.1 502 {echo}\r\nContent-Length: {len(echo)}\r\n\r\n{echo}"
    async with proxy_that_says(refused) as (port, _):
        # A password with a slash that is not quoted is no URL, and is read all the same.
        for credentials in (CREDENTIALS, f"{USER}:{PASSWORD}"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://{credentials}@127.0.0.1:{port}")
            error = await failure_of(scheme)
            assert "[secret]" in error.message
            assert "marked-pw" not in str(error)
            assert ENCODED not in str(error)
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{CREDENTIALS}@127.0.0.1:1")
    assert "marked-pw" not in str(await failure_of(scheme))
    monkeypatch.setenv(f"{scheme}_proxy", f"http://{CREDENTIALS}@127.0.0.1:no-port")
    assert "marked-pw" not in str(await failure_of(scheme))
