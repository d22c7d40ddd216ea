"""A provider without latency of its own: a lean server of streamed chat completions.

Run as `python -m benchmarks.provider_server`; it prints its address and runs until its standard
input ends. A request's `max_tokens` says how many tokens the answer has, its `tokens_per_second` at
what pace they come (0, or none: all at once). Each token of a paced answer is nine characters that
say when it was due (see `machine.stamp`), so that whoever reads it knows how late it is.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import sys
import time
from typing import Any, cast

import orjson
import uvloop

from benchmarks.machine import TIME_WRAP, stamp

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
WORDS = ("rivers ", "carry ", "stones ", "slowly ", "towards ", "open ", "water, ", "and rest. ")
GOLDEN = 0.6180339887  # spreads the streams' tokens evenly over an interval
TICK = 0.005  # seconds; longest wait for what may have become due


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunks(events: list[bytes]) -> bytes:
    return b"".join(map(_chunk, events))


class Form:
    """The server-sent events of one model's answers."""

    def __init__(self, model: str) -> None:
        head = orjson.dumps(
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        )[:-1]
        self._before = b"data: " + head + b',"choices":[{"index":0,"delta":{"content":"'
        self._after = b'"},"finish_reason":null}]}\n\n'
        opened = b',"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
        closed = b',"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        self.opening = b"data: " + head + opened
        self._closing = b"data: " + head + closed
        self._usage = b"data: " + head + b',"choices":[],"usage":'
        self._bursts: dict[int, bytes] = {}

    def token(self, text: bytes) -> bytes:
        """The event of one token; `text` needs no escaping."""
        return self._before + text + self._after

    def closing(self, tokens: int) -> list[bytes]:
        """The events that end an answer of so many tokens."""
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": tokens + 10}
        return [
            self._closing,
            self._usage + orjson.dumps(usage) + b"}\n\n",
            b"data: [DONE]\n\n",
        ]

    def events(self, tokens: int) -> list[bytes]:
        """A whole answer."""
        texts = (WORDS[index % len(WORDS)].encode() for index in range(tokens))
        return [self.opening, *map(self.token, texts), *self.closing(tokens)]

    def burst(self, tokens: int) -> bytes:
        """A whole answer as its HTTP response, each event in a chunk of its own."""
        if tokens not in self._bursts:
            self._bursts[tokens] = STREAM_HEAD + _chunks(self.events(tokens)) + LAST_CHUNK
        return self._bursts[tokens]


class _Paced:
    """One answer that is being written at its pace."""

    __slots__ = ("begin", "connection", "form", "interval", "sent", "tokens")

    def __init__(
        self, connection: _Connection, form: Form, tokens: int, interval: float, begin: float
    ) -> None:
        self.connection, self.form, self.tokens = connection, form, tokens
        self.interval, self.begin, self.sent = interval, begin, 0


class Provider:
    """What all connections share: the clock of the paced answers, and what was seen."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._forms: dict[str, Form] = {}
        self._due: list[tuple[float, int, _Paced]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.requests = self.tokens = 0
        self.late = self.latest = 0.0
        self.arrivals: list[float] = []

    def seen(self) -> dict[str, Any]:
        """What was asked and sent since the last reset; times are of the monotonic clock."""
        mean = self.late / self.tokens if self.tokens else 0.0
        return {
            "requests": self.requests,
            "tokens": self.tokens,
            "mean_late_ms": mean * 1000,
            "latest_ms": self.latest * 1000,
            "arrivals": self.arrivals,
        }

    def answer(self, connection: _Connection, request: dict[str, Any]) -> None:
        self.requests += 1
        if len(self.arrivals) < 10_000:
            self.arrivals.append(time.monotonic())
        model = request["model"]
        form = self._forms.get(model)
        if form is None:
            form = self._forms[model] = Form(model)
        tokens = request.get("max_tokens") or 10
        pace = request.get("tokens_per_second")
        if not pace:
            connection.write(form.burst(tokens))
            return
        connection.write(STREAM_HEAD + _chunk(form.opening))
        self._count += 1
        begin = time.monotonic() + self._count * GOLDEN % 1 / pace
        paced = _Paced(connection, form, tokens, 1 / pace, begin)
        heapq.heappush(self._due, (begin, self._count, paced))
        self._wind()

    def _wind(self) -> None:
        if self._timer is None:  # else it ticks within a few milliseconds anyhow
            left = self._due[0][0] - time.monotonic()
            self._timer = self._loop.call_later(min(max(left, 0.001), TICK), self._tick)

    def _tick(self) -> None:
        self._timer = None
        # The loop's own clock counts whole milliseconds.
        clock, heap = time.monotonic, self._due
        while heap and heap[0][0] <= (now := clock()):
            due, count, paced = heap[0]
            connection = paced.connection
            if connection.closed:
                heapq.heappop(heap)
                continue
            paced.sent += 1
            self.tokens += 1
            self.late += now - due
            self.latest = max(self.latest, now - due)
            data = _chunk(paced.form.token(b"%08d " % stamp(due)))
            if paced.sent == paced.tokens:
                heapq.heappop(heap)
                connection.write(data + _chunks(paced.form.closing(paced.tokens)) + LAST_CHUNK)
            else:
                following = paced.begin + paced.sent * paced.interval
                heapq.heapreplace(heap, (following, count, paced))
                connection.write(data)
        if heap:
            self._wind()


class _Connection(asyncio.Protocol):
    """One client's connection: a request, its answer, the next request."""

    def __init__(self, provider: Provider) -> None:
        self.closed = False
        self._provider = provider
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its bases

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while (end := received.find(b"\r\n\r\n")) >= 0:
            head = bytes(received[:end]).lower()
            _, _, rest = head.partition(b"content-length:")
            length = int(rest.partition(b"\r\n")[0]) if rest else 0
            if len(received) < end + 4 + length:
                return
            body = bytes(received[end + 4 : end + 4 + length])
            del received[: end + 4 + length]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"post "):
            self._provider.answer(self, orjson.loads(body))
        elif head.startswith(b"get /seen"):
            self._send(self._provider.seen())
            self._provider.reset()
        else:
            self._send({"object": "list", "data": [{"id": "bench", "object": "model"}]})

    def _send(self, content: dict[str, Any]) -> None:
        data = orjson.dumps(content)
        self.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(data), data)
        )


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    provider = Provider()
    server = await loop.create_server(lambda: _Connection(provider), "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, os.read, 0, 1)
    server.close()


if __name__ == "__main__":
    assert stamp() < TIME_WRAP
    uvloop.run(main())
