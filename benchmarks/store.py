"""What the event store costs: appends with and without group commit, reading, auditing.

    python -m benchmarks.store [sqlite:///PATH | postgresql://...]

Prints events a second and, because machines differ, each as a ratio to the first line. Without a
URL it measures SQLite in a temporary folder.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from tempfile import TemporaryDirectory

import uvloop

from events.canonical import HeadChain
from events.envelope import Event
from events.open import open_store
from events.store import EventStore
from events.types import ModelAnswered, ModelAsked, Payload
from events.values import ContextRule, Cost, Parameters, Usage

SESSIONS, ROUNDS, SINGLE = 200, 50, 300
AT = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = ModelAsked(
    participant="architect",
    provider="openai",
    model="gpt-4",
    purpose="answer",
    context=ContextRule(upto=1),
    parameters=Parameters(temperature=0.7, max_tokens=2000),
    digest="ab" * 32,
)
ANSWERED = ModelAnswered(
    attempt=1,
    text="Measure twice, cut once. " * 12,
    finish_reason="stop",
    usage=Usage(input=900, output=120),
    usage_raw={"prompt_tokens": 900, "completion_tokens": 120},
    cost=Cost(amount=Decimal("0.00123"), prices="2026-11"),
    first_token_ms=231.5,
    duration_ms=1834.0,
    rhythm=tuple(range(24)),
)


def batch(stream: str, after: int, *payloads: Payload) -> list[Event]:
    """Events of those payloads behind the position `after`."""
    return [
        Event(stream, position, AT, "user:ada", data, turn="turn_1", cause=position - 1 or None)
        for position, data in enumerate(payloads, after + 1)
    ]


class Table:
    """Lines of a measurement, each beside its ratio to the first."""

    def __init__(self) -> None:
        self._first: float | None = None

    @contextmanager
    def line(self, what: str, events: int) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rate = events / wall
        self._first = self._first or rate
        used = f"{cpu / events * 1e6:7.1f} us CPU"
        print(f"{what:<44} {rate:>10,.0f} events/s {rate / self._first:>8.1f}x {used}")


async def session(store: EventStore, name: str, rounds: int) -> None:
    """One append after the other, each waited for, as a session does."""
    for n in range(rounds):
        await store.append(name, 2 * n, batch(name, 2 * n, ASKED, ANSWERED))


async def pages(read: Callable[[int], Awaitable[int]]) -> int:
    """Read page by page to the end; `read` takes and returns the cursor."""
    cursor = 0
    while (following := await read(cursor)) > cursor:
        cursor = following
    return cursor


async def measure(url: str) -> None:
    """Write, read and audit a store that is empty, and print a line for each."""
    store, table = open_store(url), Table()
    with table.line("one session, one append at a time", 2 * SINGLE):
        await session(store, "single", SINGLE)
    names = [f"session-{n}" for n in range(SESSIONS)]
    total = 2 * SESSIONS * ROUNDS
    with table.line(f"{SESSIONS} sessions at once, group commit", total):
        await asyncio.gather(*(session(store, name, ROUNDS) for name in names))
    total += 2 * SINGLE

    found: list[Event] = []

    async def read_all(cursor: int) -> int:
        page = await store.read_all(cursor, 5000)
        found.extend(one.event for one in page)
        return page[-1].sequence if page else cursor

    with table.line("read and decode, in the store's order", total):
        await pages(read_all)
    with table.line("read and decode, stream by stream", total):
        for name in ("single", *names):
            await store.read(name)
    chain = HeadChain()
    with table.line("canonical JSON and head", total):
        for event in found:
            chain.add(event)
    with table.line("audit of the whole store", total):
        assert not [fault async for fault in store.verify()]
    await store.close()


def main() -> None:
    """Measure the store named on the command line."""
    if len(sys.argv) > 1:
        uvloop.run(measure(sys.argv[1]))
        return
    with TemporaryDirectory() as folder:
        uvloop.run(measure(f"sqlite:///{folder}/events.db"))


if __name__ == "__main__":
    main()
