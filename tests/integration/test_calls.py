"""Calls on their way to models that are not there yet."""

from __future__ import annotations

import asyncio
from collections import Counter

from actors import subjects
from actors.addresses import Address, ModelAddress
from actors.bus import Bus, Msg
from actors.calls import Calls, Key
from actors.messages import Ask
from api.nats_server import BundledNats
from events.chat import WireMessage
from events.errors import ConfigError, ControlRoomError
from events.values import Parameters
from tests.waiting import eventually


def ask(session: str) -> Ask:
    return Ask(
        session=session,
        turn="t1",
        step="ask:a:1",
        attempt=1,
        reply="nobody",
        model="m",
        provider="p",
        purpose="answer",
        messages=(WireMessage(role="user", content="Hello"),),
        parameters=Parameters(),
    )


class Starting:
    """Has actors of models started, when it is told to."""

    def __init__(self, error: ControlRoomError | None = None) -> None:
        self.started: Counter[Address] = Counter()
        self.go = asyncio.Event()
        self.refused: list[tuple[Key, str]] = []
        self._error = error

    async def ensure(self, address: Address) -> None:
        self.started[address] += 1
        await self.go.wait()
        if self._error is not None:
            raise self._error

    def silent(self, key: Key, attempt: int) -> None:
        raise AssertionError(f"{key} is being started")

    def unservable(self, key: Key, attempt: int, error: ControlRoomError) -> None:
        self.refused.append((key, error.message))

    def calls(self, bus: Bus) -> Calls:
        return Calls(
            bus, self.ensure, silent=self.silent, unservable=self.unservable, heartbeat=0.02
        )


async def test_many_calls_have_their_model_started_once(nats_server: BundledNats) -> None:
    bus, other = await Bus.connect(nats_server.url), await Bus.connect(nats_server.url)
    taken: set[str] = set()

    def take(msg: Msg) -> None:
        taken.add(Ask.model_validate_json(msg.data).session)

    await other.subscribe(subjects.model("p", "m"), take)
    starting = Starting()
    calls = starting.calls(bus)
    await calls.start()
    sessions = {f"s{number}" for number in range(50)}
    for session in sorted(sessions):
        await calls.send(ask(session))
    calls.warm(ModelAddress("p", "m"))
    await eventually(lambda: starting.started, within=10, what="the request for an actor")
    assert taken == set()
    starting.go.set()
    await eventually(lambda: taken == sessions, within=10, what="every question")
    assert starting.started == {ModelAddress("p", "m"): 1}
    assert starting.refused == []
    await calls.stop()
    await bus.close()
    await other.close()


async def test_a_model_that_cannot_be_had_fails_every_call_that_waits_for_it(
    nats_server: BundledNats,
) -> None:
    bus = await Bus.connect(nats_server.url)
    starting = Starting(ConfigError("there is no such provider"))
    calls = starting.calls(bus)
    await calls.start()
    for session in ("s1", "s2"):
        await calls.send(ask(session))
    starting.go.set()
    await eventually(lambda: len(starting.refused) == 2, within=10, what="both refusals")
    assert {key[0] for key, _ in starting.refused} == {"s1", "s2"}
    await calls.send(ask("s3"))  # it is tried anew for whoever comes later
    await eventually(lambda: len(starting.refused) == 3, within=10, what="the third refusal")
    assert starting.started[ModelAddress("p", "m")] == 2
    await calls.stop()
    await bus.close()
