"""One tool server's actor on a real NATS server, and a router's side of its calls."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors import subjects
from actors.bus import Bus, Msg
from actors.messages import CallTool, Outcome, Receipt
from actors.tools.actor import ToolServerActor
from actors.tools.config import ToolServerSpec, parse
from actors.tools.listing import TOOLS, Listing
from events.blobs import MemoryBlobs
from events.tools import ElicitationAnswered
from events.values import Text
from tests.waiting import eventually

STUBBORN = Path(__file__).parents[1] / "servers" / "mcp_stubborn.py"


def stubborn(folder: Path, **options: Any) -> ToolServerSpec:
    """The server that misbehaves as it is told, and writes into the folder."""
    command = {"command": sys.executable, "args": [str(STUBBORN), str(folder)], **options}
    return configured("stubborn", command)


def configured(name: str, entry: dict[str, Any]) -> ToolServerSpec:
    """The server as a file would have it."""
    return parse(json.dumps({"mcpServers": {name: entry}}))[name]


class Caller:
    """Calls one server's tools as a router does, and takes what comes of them."""

    def __init__(self, bus: Bus, actor: ToolServerActor, spec: ToolServerSpec) -> None:
        self.bus = bus
        self.actor = actor
        self.blobs = MemoryBlobs()
        self.outcomes: dict[str, asyncio.Queue[Outcome]] = {}
        self.listings: list[Listing] = []
        self.deltas: list[dict[str, Any]] = []
        self._spec = spec
        self._count = 0

    async def call(self, tool: str, **arguments: Any) -> Outcome:
        """What comes of a call."""
        return await self.outcome(await self.begin(tool, json.dumps(arguments)))

    async def begin(self, tool: str, arguments: str = "{}") -> str:
        """Call; returns the step."""
        self._count += 1
        step = f"call:x:{self._count}"
        self.outcomes[step] = asyncio.Queue()
        request = CallTool(
            session="s1",
            turn="t1",
            step=step,
            attempt=1,
            reply="test.outcomes",
            server=self._spec.name,
            tool=tool,
            arguments=arguments,
        )
        await self.bus.publish(subjects.tool_server(self._spec.name), request)
        return step

    async def outcome(self, step: str, within: float = 60) -> Outcome:
        return await asyncio.wait_for(self.outcomes[step].get(), within)

    async def text(self, tool: str, **arguments: Any) -> Text:
        """The text that a tool gives back."""
        outcome = await self.call(tool, **arguments)
        assert outcome.returned is not None, outcome.tool_failed
        return outcome.returned.text

    async def failure(self, tool: str, **arguments: Any) -> tuple[str, str]:
        """The class and the message of a call's failure."""
        failed = (await self.call(tool, **arguments)).tool_failed
        assert failed is not None
        return failed.error, failed.message

    async def cancel(self, step: str) -> None:
        await self.bus.publish(subjects.cancel("s1", "t1", step), b"{}")

    async def answer(self, step: str, answered: ElicitationAnswered) -> None:
        await self.bus.publish(subjects.elicited("s1", "t1", step), answered)

    async def taken(self, msg: Msg) -> None:
        outcome = Outcome.model_validate_json(msg.data)
        await msg.respond(Receipt(status="committed"))
        self.outcomes[outcome.step].put_nowait(outcome)

    async def listed(self) -> Listing:
        """What its actor says of the server once that is up."""

        def listed() -> bool:
            listing = self.actor.listing()
            return listing.up and listing.tools is not None

        await eventually(listed, within=60, what="the tool server")
        return self.actor.listing()


@asynccontextmanager
async def calling(
    url: str, spec: ToolServerSpec, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Caller]:
    """An actor of the server that works until left."""
    bus, other = await Bus.connect(url), await Bus.connect(url)
    blobs = MemoryBlobs()
    actor = ToolServerActor(other, blobs, spec, environment or {}, heartbeat=0.05)
    caller = Caller(bus, actor, spec)
    caller.blobs = blobs
    await bus.subscribe("test.outcomes", caller.taken)
    await bus.subscribe(
        TOOLS, lambda msg: caller.listings.append(Listing.model_validate_json(msg.data))
    )
    await bus.subscribe("room.delta.>", lambda msg: caller.deltas.append(json.loads(msg.data)))
    try:
        await actor.start()
        yield caller
    finally:
        await actor.stop(within=0.1)
        await bus.close()
        await other.close()
