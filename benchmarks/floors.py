"""The floors: five streamed calls with a bare `asyncio.gather`, and nothing else.

Run as `python -m benchmarks.floors FLOOR URL LOAD...`, a load being `sessions,turns,tokens,pace`;
prints one line of JSON for each load.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from actors.providers.openai import OpenAIOptions, OpenAIProvider
from actors.providers.port import ChatMessage, ChatRequest, Delta
from benchmarks.lateness import Lateness
from benchmarks.load import MESSAGE, MODELS, Load, Measured
from events.values import Parameters

if TYPE_CHECKING:
    import aiohttp
    import openai

FLOORS = {
    "openai": "bare gather, openai client",
    "openai-aiohttp": "same, aiohttp transport and uvloop",
    "aiohttp": "bare gather, aiohttp and uvloop",
}

READERS = {**FLOORS, "provider": "the provider `openai`"}
"""The same, and what the room reads answers with."""

Ask = Callable[[str, Load, Lateness | None], Awaitable[str]]
"""Asks one model for one answer and returns its text."""

MESSAGES: Any = [{"role": "user", "content": MESSAGE}]


def with_openai(client: openai.AsyncOpenAI) -> Ask:
    """Asks through the `openai` client and its objects."""

    async def ask(model: str, load: Load, lateness: Lateness | None) -> str:
        texts = []
        stream = await client.chat.completions.create(
            model=model,
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
            max_tokens=load.tokens,
            extra_body={"tokens_per_second": load.pace},
        )
        async for chunk in stream:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                texts.append(text)
                if lateness is not None:
                    lateness.see(text)
        return "".join(texts)

    return ask


def with_aiohttp(client: aiohttp.ClientSession, url: str) -> Ask:
    """Asks through aiohttp and reads the lines of the stream with orjson."""

    async def ask(model: str, load: Load, lateness: Lateness | None) -> str:
        body = {
            "model": model,
            "messages": MESSAGES,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": load.tokens,
            "tokens_per_second": load.pace,
        }
        texts = []
        rest = b""
        async with client.post(
            f"{url}/chat/completions",
            data=orjson.dumps(body),
            headers={"Content-Type": "application/json"},
        ) as response:
            async for received in response.content.iter_any():
                *lines, rest = (rest + received).split(b"\n")
                for line in lines:
                    if not line.startswith(b"data: {"):
                        continue
                    choices = orjson.loads(line[6:])["choices"]
                    if choices and (text := choices[0]["delta"].get("content")):
                        texts.append(text)
                        if lateness is not None:
                            lateness.see(text)
        return "".join(texts)

    return ask


def with_provider(provider: OpenAIProvider) -> Ask:
    """Asks through the room's own provider."""

    async def ask(model: str, load: Load, lateness: Lateness | None) -> str:
        parameters = Parameters(max_tokens=load.tokens, extra={"tokens_per_second": load.pace})
        request = ChatRequest(model, (ChatMessage("user", MESSAGE),), parameters)
        stream = provider.stream(request)
        return "".join([item.text async for item in stream if isinstance(item, Delta)])

    return ask


async def measured(ask: Ask, load: Load) -> Measured:
    """Run the load."""
    lateness = Lateness() if load.pace else None
    turns: list[float] = []

    async def session() -> None:
        for _ in range(load.turns):
            began = time.perf_counter()
            texts = await asyncio.gather(*(ask(model, load, lateness) for model in MODELS))
            turns.append(time.perf_counter() - began)
            if not all(texts):
                raise RuntimeError("an answer is empty")

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(session() for _ in range(load.sessions)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if lateness is not None and lateness.count != load.all_tokens:
        raise RuntimeError(f"{lateness.count} tokens came, not {load.all_tokens}")
    return Measured(
        seconds=seconds,
        turn_ms=statistics.median(turns) * 1000,
        turns_per_second=load.all_turns / seconds,
        cpu_seconds=cpu,
        cpu_us_per_token=cpu / load.all_tokens * 1e6,
        mean_late_ms=lateness.mean() if lateness else 0.0,
        p99_late_ms=lateness.percentile(0.99) if lateness else 0.0,
    )


async def run(floor: str, url: str, loads: list[Load]) -> None:
    """Measure the loads one after another, after a short warming up."""
    if floor == "aiohttp":
        import aiohttp

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        ) as session:
            await _each(with_aiohttp(session, url), loads)
        return
    if floor == "provider":
        provider = OpenAIProvider("bench", OpenAIOptions(base_url=url, max_concurrency=10_000))
        try:
            await _each(with_provider(provider), loads)
        finally:
            await provider.close()
        return
    import openai

    http = openai.DefaultAioHttpClient() if floor == "openai-aiohttp" else None
    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=600.0, http_client=http
    ) as client:
        await _each(with_openai(client), loads)


async def _each(ask: Ask, loads: list[Load]) -> None:
    await measured(ask, Load(2, 5))
    for load in loads:
        result = await measured(ask, load)
        sys.stdout.write(orjson.dumps(asdict(result)).decode() + "\n")
        sys.stdout.flush()


def main() -> None:
    """See the module."""
    floor, url, *texts = sys.argv[1:]
    loads = [Load(*(int(part) for part in text.split(","))) for text in texts]
    if floor == "openai":
        asyncio.run(run(floor, url, loads))
    else:
        import uvloop

        uvloop.run(run(floor, url, loads))


if __name__ == "__main__":
    main()
