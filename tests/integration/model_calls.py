"""A model's actor and the router that it answers, on a NATS server and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from actors import subjects
from actors.bus import Bus, Msg
from actors.messages import Ask, Heartbeat, Outcome, Receipt
from actors.model import ModelActor
from actors.providers.config import ProviderSpec, create
from actors.providers.port import Limits
from api.nats_server import BundledNats
from events.blobs import MemoryBlobs
from events.chat import WireMessage
from events.types import ModelAnswered, ModelDiscarded, ModelFailed
from events.values import Parameters
from tests.servers.chat import ChatServer, chat_server
from tests.waiting import eventually

BEAT = 0.05  # seconds; the product's is a second
KEY = "marked-secret-9d41c7"

Probe = Callable[[], bool | Awaitable[bool]]


class Router:
    """The other side of a call: asks, listens, and gives receipts."""

    def __init__(self, bus: Bus, provider: str) -> None:
        self.bus = bus
        self.provider = provider
        self.session = f"s{uuid4().hex[:12]}"
        self.reply = f"test.outcome.{self.session}"
        self.outcomes: list[Outcome] = []
        self.beats: dict[str, int] = defaultdict(int)
        self.deltas: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.receipts = True
        self._came = asyncio.Condition()

    async def start(self) -> None:
        await self.bus.subscribe(self.reply, self._outcome)
        await self.bus.subscribe(f"room.call.{self.session}.>", self._beat)
        await self.bus.subscribe(subjects.deltas(self.session), self._delta)

    async def _outcome(self, msg: Msg) -> None:
        self.outcomes.append(Outcome.model_validate_json(msg.data))
        if self.receipts:
            await msg.respond(Receipt(status="committed"))
        async with self._came:
            self._came.notify_all()

    def _beat(self, msg: Msg) -> None:
        beat = Heartbeat.model_validate_json(msg.data)
        assert msg.subject == subjects.call(beat.session, beat.turn, beat.step)
        self.beats[beat.step] += 1

    def _delta(self, msg: Msg) -> None:
        delta = json.loads(msg.data)
        assert msg.subject == subjects.delta(
            self.session, delta["turn"], delta["step"], delta["attempt"]
        )
        self.deltas[delta["step"]].append(delta)

    async def ask(
        self, model: str, step: str = "ask:architect:1", said: str = "Hello there", **more: Any
    ) -> None:
        fields: dict[str, Any] = {
            "session": self.session,
            "turn": "t1",
            "step": step,
            "attempt": 1,
            "reply": self.reply,
            "model": model,
            "provider": self.provider,
            "role": "architect",
            "purpose": "answer",
            "messages": (WireMessage(role="user", content=said),),
            "parameters": Parameters(seed=7),
        }
        await self.bus.publish(subjects.model(self.provider, model), Ask(**{**fields, **more}))

    async def cancel(self, step: str = "ask:architect:1") -> None:
        await self.bus.publish(subjects.cancel(self.session, "t1", step), b"{}")

    async def count(self, outcomes: int, within: float = 20) -> list[Outcome]:
        async with asyncio.timeout(within), self._came:
            await self._came.wait_for(lambda: len(self.outcomes) >= outcomes)
        return self.outcomes

    async def answered(self) -> ModelAnswered:
        outcome = (await self.count(1))[0]
        assert outcome.answered is not None, outcome
        return outcome.answered

    async def failed(self) -> ModelFailed:
        outcome = (await self.count(1))[0]
        assert outcome.failed is not None, outcome
        return outcome.failed

    async def discarded(self) -> ModelDiscarded:
        outcome = (await self.count(1))[0]
        assert outcome.discarded is not None, outcome
        return outcome.discarded

    async def first_delta(self, step: str = "ask:architect:1") -> None:
        await eventually(lambda: self.deltas[step], within=10, what="the first delta")

    def text_of_deltas(self, step: str = "ask:architect:1") -> str:
        """What the deltas say, after a check that they follow one another."""
        text = ""
        for delta in self.deltas[step]:
            assert set(delta) == {
                "type", "turn", "step", "attempt", "participant", "channel", "seq", "text",
            }  # fmt: skip
            assert delta["type"] == "delta"
            assert delta["participant"] == step.split(":")[1]
            assert delta["seq"] == len(text)
            text += delta["text"]
        return text


@asynccontextmanager
async def room(
    url: str,
    *models: str,
    limits: Limits | None = None,
    type: str = "rehearsal",
    **config: Any,
) -> AsyncIterator[tuple[Router, ModelActor, MemoryBlobs]]:
    """A router and an actor for each model, on connections of their own; yields the first actor."""
    spec = ProviderSpec(id=type, type=type, config=config)
    provider, blobs = create(spec, {"KEY": KEY}), MemoryBlobs()
    async with asyncio.TaskGroup() as connecting:
        ours = connecting.create_task(Bus.connect(url, name="router"))
        theirs = connecting.create_task(Bus.connect(url, name="model"))
    router = Router(ours.result(), type)
    await router.start()
    actors = [
        ModelActor(theirs.result(), blobs, provider, type, model, limits=limits, heartbeat=BEAT)
        for model in models
    ]
    try:
        for actor in actors:
            await actor.start()
        yield router, actors[0], blobs
    finally:
        for actor in actors:
            await actor.stop(within=0)
        await provider.close()
        await theirs.result().close()
        await ours.result().close()


@asynccontextmanager
async def served(
    nats: str, **config: Any
) -> AsyncIterator[tuple[ChatServer, Router, ModelActor, MemoryBlobs]]:
    """A room whose model is served over HTTP."""
    async with (
        chat_server() as server,
        room(
            nats,
            "a-model",
            type="openai",
            **{"base_url": server.base_url, "api_key": "${KEY}", **config},
        ) as (router, actor, blobs),
    ):
        yield server, router, actor, blobs


async def kill(server: BundledNats) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


def health_is(actor: ModelActor, **expected: int) -> Probe:
    """Asks whether those numbers are what the actor reports."""

    async def as_expected() -> bool:
        return await health_now(actor, **expected)

    return as_expected


async def health_now(actor: ModelActor, **expected: int) -> bool:
    health = await actor.health()
    return {name: health[name] for name in expected} == expected
