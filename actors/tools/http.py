"""The HTTP client of one tool server: its headers, and no answer without bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from actors.tools.lines import LONGEST_LINE

CONNECT_WITHIN: Final = 30.0  # seconds; how long an answer may take is each call's affair


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it grows past what is kept."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LONGEST_LINE:
                raise httpx2.RemoteProtocolError(f"the answer has more than {LONGEST_LINE} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    # An event stream may go on for ever; its single events are bounded by the client.
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    if not streamed and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


@asynccontextmanager
async def http_streams(url: str, headers: Mapping[str, str]) -> AsyncIterator[TransportStreams]:
    """The messages to and from the server at `url`, with these headers in every request."""
    timeout = httpx2.Timeout(CONNECT_WITHIN, read=None)
    async with (
        httpx2.AsyncClient(
            headers=dict(headers), timeout=timeout, event_hooks={"response": [_bound]}
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=LONGEST_LINE) as streams,
    ):
        yield streams
