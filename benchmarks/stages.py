"""What each stage of a turn costs: when it happens, on the wire, and who pays for it.

One turn after the other is held in one session while a further client of NATS listens to
everything. All times are of the machine's one monotonic clock; each is when a listener had it, so
the way from NATS to the listener is in it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from actors.bus import Bus, Msg
from api.nats_server import BundledNats
from benchmarks.load import MODELS, Load
from benchmarks.machine import cores, on_core, processor_seconds
from benchmarks.parts import measured_parts
from benchmarks.provider import ProviderProcess, running_provider
from benchmarks.report import Report, median, number
from benchmarks.room import RoomProcess, running_room
from benchmarks.visitors import Visitor, check, visitors

STAGES = {
    "command": "the command is on NATS",
    "committed": "the message and its five questions are committed",
    "asked": "the last question is on NATS",
    "requested": "the provider has the last request",
    "delta": "the first piece of an answer is on NATS",
    "outcome": "the first outcome is on NATS",
    "outcomes": "the last outcome is on NATS",
    "ended": "the end of the turn is committed",
    "seen": "the end of the turn is at the WebSocket",
}
"""In the order of a turn; seconds are counted from the POST."""


class Trace:
    """When something of each kind was seen last or first since it was cleared."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def clear(self) -> None:
        """Before a turn."""
        self.first.clear()
        self.last.clear()

    def see(self, kind: str) -> None:
        """Note the present time."""
        now = time.monotonic()
        self.first.setdefault(kind, now)
        self.last[kind] = now

    def heard(self, msg: Msg) -> None:
        """Note a message on NATS by its subject."""
        parts = msg.subject.split(".")
        self.see("outcome" if parts[-1] == "outcome" else parts[1])


async def run(*, quick: bool = False) -> Report:
    """Trace turns of one session, then measure who pays for turns and for tokens."""
    with tempfile.TemporaryDirectory(prefix="nats-") as folder:
        nats = BundledNats(Path(folder))
        with on_core(cores()[1]):
            await nats.start()
        try:
            traced, shares = await _measured(nats, 15 if quick else 60, quick)
        finally:
            await nats.stop()
    return replace(traced, more=[shares, await measured_parts(quick=quick)])


async def _measured(nats: BundledNats, turns: int, quick: bool) -> tuple[Report, Report]:
    async with (
        running_provider() as provider,
        running_room(provider.url, nats_url=nats.url) as room,
        AsyncExitStack() as stack,
    ):
        trace = Trace()
        bus = await Bus.connect(nats.url, name="trace")
        stack.push_async_callback(bus.close)
        subscription = await bus.subscribe("room.>", trace.heard)
        load = Load(1, 1)
        async with visitors(room, load, "trace") as (visitor,):
            await visitor.hold(10)
            times = [await _traced(visitor, trace, provider) for _ in range(turns)]
        await subscription.unsubscribe()
        pid = nats.pid
        assert pid is not None
        shares = await _who_pays(room, pid, quick)
    before = 0.0
    rows = []
    for stage, what in STAGES.items():
        at = median(one[stage] for one in times) * 1000
        rows.append((what, number(at), number(at - before)))
        before = at
    title = "stages: when each stage of a turn is reached, 1 session"
    columns = ("", "ms since the POST", "ms since the stage before")
    return Report(title, columns, rows, remarks=[f"Medians of {turns} turns."]), shares


async def _traced(visitor: Visitor, trace: Trace, provider: ProviderProcess) -> dict[str, float]:
    """Seconds from the POST to each stage of one turn."""
    await provider.seen()
    trace.clear()
    began = time.monotonic()
    await visitor.hold(1)
    trace.see("seen")
    arrivals = (await provider.seen())["arrivals"]
    found = {
        "command": trace.first["router"],
        "committed": trace.first["commit"],
        "asked": trace.last["model"],
        "requested": max(arrivals),
        "delta": trace.first["delta"],
        "outcome": trace.first["outcome"],
        "outcomes": trace.last["outcome"],
        "ended": trace.last["commit"],
        "seen": trace.last["seen"],
    }
    return {stage: at - began for stage, at in found.items()}


async def _who_pays(room: RoomProcess, nats: int, quick: bool) -> Report:
    """Processor time of each kind of process."""
    loads: list[tuple[str, Load, Callable[[Load], int]]] = [
        ("1 session, us a turn", Load(1, 20 if quick else 50), lambda load: load.all_turns),
        ("100 sessions, us a turn", Load(100, 2 if quick else 5), lambda load: load.all_turns),
        ("20 sessions streaming, us a token", Load(20, 1, 200, 100), lambda load: load.all_tokens),
    ]
    table: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * len(loads))
    for column, (_, load, units) in enumerate(loads):
        async with visitors(room, load, f"pays-{column}") as found:
            parts = room.parts() | {nats: "nats-server"}
            before = processor_seconds(parts)
            await _hold_all(found, load)
            after = processor_seconds(parts)
        spent: defaultdict[str, float] = defaultdict(float)
        for pid, seconds in after.items():
            spent[parts[pid]] += seconds - before[pid]
        for part, seconds in spent.items():
            table[part][column] = seconds / units(load) * 1e6
    rows = [
        (_plural(part), *map(number, costs))
        for part, costs in sorted(table.items(), key=lambda item: -item[1][1])
    ]
    rows.append(("all", *(number(sum(c)) for c in zip(*table.values(), strict=True))))
    return Report("stages: who pays (processor time)", ("", *(name for name, _, _ in loads)), rows)


async def _hold_all(found: list[Visitor], load: Load) -> None:
    await asyncio.gather(*(visitor.hold(load.turns) for visitor in found))
    check(found, load, None)


def _plural(part: str) -> str:
    return f"{len(MODELS)} model actors" if part == "model actor" else part
