"""A router on a real wire, whose person and whose models are the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from actors import subjects
from actors.addresses import Address
from actors.bus import Bus, Msg
from actors.grounds import Grounds
from actors.messages import (
    Ask,
    Command,
    CreateSession,
    Heartbeat,
    Outcome,
    PostTurn,
    Receipt,
    Reply,
)
from actors.providers.config import Providers, ProviderSpec, configured
from actors.router import RouterActor
from api.nats_server import BundledNats
from events.account import DailyBudgets
from events.config import SessionConfig
from events.partitions import PARTITIONS
from events.store import BlobStore, EventStore
from events.types import ModelAnswered, ModelDiscarded
from events.values import Message, Text


class Wire:
    """A person and a model at the other end of the router's wire."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._asks: asyncio.Queue[Ask] = asyncio.Queue()
        self.cancelled: list[str] = []
        self.cancel = asyncio.Event()

    async def listen(self) -> None:
        await self.bus.subscribe("room.model.>", self._asked)
        await self.bus.subscribe("room.cancel.>", self._cancelled)

    async def no_start(self, address: Address) -> None:
        """Whoever is wanted is here already."""

    async def create(self, session: str, **changes: object) -> None:
        """A session of one participant, `a`."""
        seat = {"id": "a", "provider": "rehearsal", "model_name": "steady", "role": "A"}
        config = SessionConfig.model_validate({"session_id": session, "models": [seat]} | changes)
        await self.command(CreateSession(session=session, by="user", id="create", config=config))

    async def post(self, session: str, text: Text, id: str) -> None:
        message = Message(content=text)
        await self.command(PostTurn(session=session, by="user", id=id, message=message))

    async def command(self, command: Command) -> None:
        subject = subjects.commands(subjects.partition(command.session))
        reply = Reply.model_validate_json(await self.bus.request(subject, command, timeout=10))
        assert reply.accepted, reply.problem

    async def asked(self, attempt: int) -> Ask:
        ask = await asyncio.wait_for(self._asks.get(), 10)
        assert ask.attempt == attempt
        return ask

    async def beat(self, ask: Ask) -> None:
        """Say that the attempt is still at work."""
        beat = Heartbeat(session=ask.session, turn=ask.turn, step=ask.step, attempt=ask.attempt)
        await self.bus.publish(subjects.call(ask.session, ask.turn, ask.step), beat)

    async def outcome(
        self,
        ask: Ask,
        *,
        answered: ModelAnswered | None = None,
        discarded: ModelDiscarded | None = None,
    ) -> str:
        """Deliver what came of an attempt; returns what the router says to it."""
        outcome = Outcome(
            session=ask.session,
            turn=ask.turn,
            step=ask.step,
            attempt=ask.attempt,
            answered=answered,
            discarded=discarded,
        )
        receipt = await self.bus.request(ask.reply, outcome, timeout=10)
        return Receipt.model_validate_json(receipt).status

    def _asked(self, msg: Msg) -> None:
        self._asks.put_nowait(Ask.model_validate_json(msg.data))

    def _cancelled(self, msg: Msg) -> None:
        self.cancelled.append(msg.subject)
        self.cancel.set()


@asynccontextmanager
async def routing(
    nats: BundledNats,
    store: EventStore,
    blobs: BlobStore,
    scripts: Path,
    *specs: ProviderSpec,
    heartbeat: float = 1.0,
    daily_budget: DailyBudgets | None = None,
    partitions: Iterable[int] = range(PARTITIONS),
) -> AsyncIterator[Wire]:
    """A router at work, and its wire; store and blobs stay open."""
    bus, other = await Bus.connect(nats.url), await Bus.connect(nats.url)
    wire = Wire(other)
    await wire.listen()
    providers = Providers(*configured(None, {}).values(), *specs)
    grounds = Grounds(providers, {}, blobs, script_folder=scripts, daily_budget=daily_budget)
    router = RouterActor(
        bus,
        store,
        blobs,
        grounds=grounds,
        ensure=wire.no_start,
        partitions=partitions,
        heartbeat=heartbeat,
    )
    await router.start()
    try:
        yield wire
    finally:
        await router.stop()
        await bus.close()
        await other.close()
