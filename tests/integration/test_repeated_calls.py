"""A call that is asked again though its first attempt is only late."""

from __future__ import annotations

import asyncio
from pathlib import Path

from actors import subjects
from actors.bus import Bus, Msg
from actors.grounds import Grounds
from actors.messages import Ask, Command, CreateSession, Outcome, PostTurn, Receipt, Reply
from actors.providers.config import configured
from actors.router import RouterActor
from api.nats_server import BundledNats
from events.config import SessionConfig
from events.open import open_blobs, open_store
from events.types import ModelAnswered, ModelDiscarded
from events.values import Message
from tests.sessions import answered

CONFIG = SessionConfig.model_validate(
    {
        "session_id": "s1",
        "models": [{"id": "a", "provider": "rehearsal", "model_name": "steady", "role": "A"}],
    }
)


class Wire:
    """A person and a model at the other end of the router's wire."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._asks: asyncio.Queue[Ask] = asyncio.Queue()
        self.cancelled: list[str] = []
        self.cancel = asyncio.Event()

    async def listen(self) -> None:
        await self._bus.subscribe("room.model.>", self._asked)
        await self._bus.subscribe("room.cancel.>", self._cancelled)

    async def no_start(self, provider: str, model: str) -> None:
        """The model is here already."""

    async def command(self, command: Command) -> None:
        subject = subjects.commands(subjects.partition(command.session))
        reply = Reply.model_validate_json(await self._bus.request(subject, command, timeout=10))
        assert reply.accepted, reply.problem

    async def asked(self, attempt: int) -> Ask:
        ask = await asyncio.wait_for(self._asks.get(), 10)
        assert ask.attempt == attempt
        return ask

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
        receipt = await self._bus.request(ask.reply, outcome, timeout=10)
        return Receipt.model_validate_json(receipt).status

    def _asked(self, msg: Msg) -> None:
        self._asks.put_nowait(Ask.model_validate_json(msg.data))

    def _cancelled(self, msg: Msg) -> None:
        self.cancelled.append(msg.subject)
        self.cancel.set()


async def test_a_late_first_answer_counts_and_the_attempt_that_repeats_it_is_cancelled(
    nats_server: BundledNats, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/room.db"
    store, blobs = open_store(url), open_blobs(url)
    bus, other = await Bus.connect(nats_server.url), await Bus.connect(nats_server.url)
    wire = Wire(other)
    await wire.listen()
    grounds = Grounds(configured(None, {}), {}, blobs, script_folder=tmp_path)
    router = RouterActor(bus, store, blobs, grounds=grounds, ensure=wire.no_start, heartbeat=0.1)
    await router.start()
    await wire.command(CreateSession(session="s1", by="user", id="c1", config=CONFIG))

    for number, prompt in enumerate((True, False), 1):
        message = Message(content="Hello")
        await wire.command(PostTurn(session="s1", by="user", id=f"p{number}", message=message))
        first = await wire.asked(1)
        if prompt:
            assert await wire.outcome(first, answered=answered("At once.")) == "committed"
            continue
        again = await wire.asked(2)  # because nothing is heard of the first one
        assert await wire.outcome(first, answered=answered("Late.")) == "committed"
        await asyncio.wait_for(wire.cancel.wait(), 10)
        assert wire.cancelled == [subjects.cancel("s1", first.turn, first.step)]
        ended = ModelDiscarded(attempt=2, reason="cancelled")
        assert await wire.outcome(again, discarded=ended) == "discarded"

    types = [event.type for event in await store.read("s1")]
    assert types[1:] == [
        "turn.started", "model.asked", "model.answered", "turn.completed",
        "turn.started", "model.asked", "model.reasked", "model.answered",
        "turn.completed", "model.discarded",
    ]  # fmt: skip
    await router.stop()
    await store.close()
    await bus.close()
    await other.close()
