"""The HTTP client of one tool server: its headers, and no answer without bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from actors.tools.flood import Flood, Thinned
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
                raise httpx2.StreamError(f"the answer has more than {LONGEST_LINE} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Refused(httpx2.AsyncByteStream, AsyncIterator[bytes]):
    """A body that is not read."""

    def __init__(self, stream: httpx2.AsyncByteStream, error: Exception) -> None:
        self._stream = stream
        self._error = error

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise self._error

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    # These errors are the only ones that the client's transport takes as those of one request.
    stream = response.stream
    assert isinstance(stream, httpx2.AsyncByteStream)
    streamed = response.headers.get("content-type", "").lower().startswith("text/event-stream")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):  # a few bytes may stand for more than can be kept
        why = f"its answer is encoded as {encoding[:40]!r}, which nobody asked for"
        refused = httpx2.SSEError(why) if streamed else httpx2.StreamError(why)
        response.stream = _Refused(stream, refused)
    elif not streamed:
        # An event stream may go on for ever; its single events are bounded by the client.
        response.stream = _Bounded(stream)


@asynccontextmanager
async def http_streams(
    name: str, url: str, headers: Mapping[str, str]
) -> AsyncIterator[TransportStreams]:
    """The messages to and from the server at `url`, with these headers in every request."""
    wanted = httpx2.Headers(dict(headers))
    wanted["accept-encoding"] = "identity"  # what is bounded is what is kept
    timeout = httpx2.Timeout(CONNECT_WITHIN, read=None)
    async with (
        httpx2.AsyncClient(
            headers=wanted, timeout=timeout, event_hooks={"response": [_bound]}
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=LONGEST_LINE) as streams,
    ):
        incoming, outgoing = streams
        yield Thinned(incoming, Flood(name)), outgoing
