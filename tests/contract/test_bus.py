"""What everything that talks over NATS relies on, shown on a real server."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from actors.bus import Bus, Msg, Unreachable, encode
from actors.messages import Ask, Receipt
from actors.outbox import BUFFER
from api.nats_server import BundledNats
from events.chat import WireMessage
from events.errors import ConfigError, ControlRoomError
from events.values import Parameters
from tests.waiting import eventually


async def kill(server: BundledNats) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(url, name="test")
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    async with connected(nats_url) as bus:
        yield bus


@pytest.fixture
def subject() -> str:
    return f"test.bus.{uuid4().hex}"


async def test_publish_reaches_every_subscriber_in_order(bus: Bus, subject: str) -> None:
    got: list[bytes] = []
    last = asyncio.Event()

    def take(msg: Msg) -> None:
        got.append(msg.data)
        if msg.data == b"99":
            last.set()

    await bus.subscribe(f"{subject}.*", take)
    for n in range(100):
        await bus.publish(f"{subject}.x", str(n).encode())
    await asyncio.wait_for(last.wait(), 20)
    assert got == [str(n).encode() for n in range(100)]


async def test_request_is_answered(bus: Bus, subject: str) -> None:
    async def answer(msg: Msg) -> None:
        assert msg.subject == subject
        await msg.respond(Receipt(status="committed"))

    await bus.subscribe(subject, answer)
    reply = await bus.request(subject, b"?", timeout=5)
    assert Receipt.model_validate_json(reply) == Receipt(status="committed")


async def test_members_of_a_queue_share_requests(nats_url: str, subject: str) -> None:
    async with connected(nats_url) as one, connected(nats_url) as two:
        by_name = {"one": 0, "two": 0}

        def member(name: str) -> None:
            by_name[name] += 1

        async def first(msg: Msg) -> None:
            member("one")
            await msg.respond(b"")

        async def second(msg: Msg) -> None:
            member("two")
            await msg.respond(b"")

        await one.subscribe(subject, first, queue="q")
        await two.subscribe(subject, second, queue="q")
        await asyncio.gather(*(one.request(subject, b"") for _ in range(200)))
        assert sum(by_name.values()) == 200
        assert min(by_name.values()) > 0


async def test_request_to_nobody_fails_when_its_time_is_over(bus: Bus, subject: str) -> None:
    with pytest.raises(Unreachable, match="nobody listens") as caught:
        await bus.request(subject, b"", timeout=1)
    assert caught.value.retryable


async def test_request_finds_somebody_who_comes_later(bus: Bus, subject: str) -> None:
    asked = asyncio.create_task(bus.request(subject, b"", timeout=10))
    await asyncio.wait({asked}, timeout=0.1)
    assert not asked.done()

    async def answer(msg: Msg) -> None:
        await msg.respond(b"here")

    await bus.subscribe(subject, answer)
    assert await asked == b"here"


async def test_request_without_an_answer_fails(bus: Bus, subject: str) -> None:
    await bus.subscribe(subject, lambda msg: None)
    with pytest.raises(Unreachable, match="no answer came"):
        await bus.request(subject, b"", timeout=0.2)


async def test_cancelling_a_request_cancels_it(bus: Bus, subject: str) -> None:
    came = asyncio.Event()
    await bus.subscribe(subject, lambda msg: came.set())
    asked = asyncio.create_task(bus.request(subject, b"", timeout=60))
    await asyncio.wait_for(came.wait(), 20)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_cancelling_a_subscription_on_its_way_harms_no_other(bus: Bus, subject: str) -> None:
    heard: list[bytes] = []
    await bus.subscribe(f"{subject}.answer", lambda msg: msg.respond(msg.data))
    for hops in range(20):
        subscribing = asyncio.create_task(
            bus.subscribe(subject, lambda msg: heard.append(msg.data))
        )
        for _ in range(hops):
            await asyncio.wait({subscribing}, timeout=0)
        subscribing.cancel()
        await asyncio.wait({subscribing})
        if not subscribing.cancelled():
            await subscribing.result().unsubscribe()
        assert await bus.request(f"{subject}.answer", b"%d" % hops, timeout=5) == b"%d" % hops
    await bus.publish(subject, b"Anyone?")
    assert await bus.request(f"{subject}.answer", b"last", timeout=5) == b"last"
    assert heard == []


async def test_handler_that_fails_does_not_end_its_subscription(
    bus: Bus, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(msg: Msg) -> None:
        if msg.data == b"raise":
            raise ValueError("a fault in the handler")
        if msg.data == b"cancelled":
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled
        await msg.respond(b"fine")

    await bus.subscribe(subject, answer)
    await bus.publish(subject, b"raise")
    await bus.publish(subject, b"cancelled")
    assert await bus.request(subject, b"", timeout=5) == b"fine"
    assert "a fault in the handler" in caplog.text


async def test_subscribed_means_that_the_server_knows(nats_url: str, subject: str) -> None:
    for n in range(150):
        async with connected(nats_url) as sender, connected(nats_url) as receiver:
            came = asyncio.Event()

            def take(msg: Msg, came: asyncio.Event = came) -> None:
                came.set()

            await receiver.subscribe(f"{subject}.{n}", take)
            await sender.publish(f"{subject}.{n}", b"")
            await asyncio.wait_for(came.wait(), 20)


async def test_unsubscribed_takes_nothing_more(bus: Bus, subject: str) -> None:
    got: list[bytes] = []
    subscription = await bus.subscribe(subject, lambda msg: got.append(msg.data))
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    with pytest.raises(Unreachable, match="nobody listens"):
        await bus.request(subject, b"", timeout=1)
    assert got == []


async def test_drained_handles_what_came(nats_url: str, subject: str) -> None:
    async with connected(nats_url) as sender:
        receiver = await Bus.connect(nats_url, name="receiver")
        go, begun = asyncio.Event(), asyncio.Event()
        got: list[bytes] = []

        async def take(msg: Msg) -> None:
            begun.set()
            await go.wait()
            got.append(msg.data)

        await receiver.subscribe(subject, take)
        for n in range(3):
            await sender.publish(subject, str(n).encode())
        await asyncio.wait_for(begun.wait(), 20)
        draining = asyncio.create_task(receiver.drain())
        go.set()
        await draining
        assert got == [b"0", b"1", b"2"]
        assert not receiver.connected


async def test_too_long_a_message_is_refused_and_says_so(bus: Bus, subject: str) -> None:
    with pytest.raises(ControlRoomError, match="blobs"):
        await bus.publish(subject, bytes(2 * 1024 * 1024))
    with pytest.raises(ControlRoomError, match="blobs"):
        await bus.request(subject, bytes(2 * 1024 * 1024))
    assert bus.connected


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nPUB x 0", "a\nb"])
async def test_names_cannot_smuggle_commands(bus: Bus, bad: str) -> None:
    with pytest.raises(ControlRoomError, match="not a subject"):
        await bus.publish(bad, b"")
    with pytest.raises(ControlRoomError, match="not a subject"):
        await bus.request(bad, b"")
    with pytest.raises(ControlRoomError, match="not a subject"):
        await bus.subscribe(bad, lambda msg: None)
    assert bus.connected


def test_values_travel_by_their_wire_names() -> None:
    ask = Ask(
        session="s",
        turn="t",
        step="ask:a:1",
        attempt=1,
        reply="r",
        model="m",
        provider="p",
        purpose="answer",
        messages=(WireMessage(role="user", content="hé"),),
        parameters=Parameters(schema_={"type": "object"}),
    )
    data = encode(ask)
    assert b'"schema":{"type":"object"}' in data
    assert Ask.model_validate_json(data) == ask


# --- the server goes and comes back ------------------------------------------------------------


async def test_absent_server_is_named_without_its_token() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 within 0\.3 s") as caught:
        await Bus.connect("nats://marked-secret@127.0.0.1:1", within=0.3)
    assert "marked-secret" not in str(caught.value)


async def test_wrong_token_is_refused_without_saying_it(nats_url: str) -> None:
    address = nats_url.rpartition("@")[2]
    with pytest.raises(ConfigError, match="CONTROL_ROOM_NATS") as caught:
        await Bus.connect(f"nats://marked-secret@{address}", within=60)
    assert "marked-secret" not in str(caught.value)


async def test_nonsense_is_no_address() -> None:
    with pytest.raises(ConfigError, match="not the address"):
        await Bus.connect("nats://host:notaport", within=0.3)


async def test_everything_stands_again_after_the_server_was_killed(
    nats_server: BundledNats, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(nats_server.url) as bus:
        reconnected = asyncio.Event()
        bus.on_reconnect(reconnected.set)
        answers = 0

        async def answer(msg: Msg) -> None:
            nonlocal answers
            answers += 1
            await msg.respond(msg.data)

        await bus.subscribe(subject, answer)
        assert await bus.request(subject, b"1") == b"1"
        since = bus.connected_since or 0.0
        await kill(nats_server)
        await eventually(lambda: not bus.connected, within=20, what="the loss is noticed")

        asked = asyncio.create_task(bus.request(subject, b"2", timeout=30))
        await bus.publish(subject, b"kept meanwhile")
        await nats_server.start()
        assert await asked == b"2"
        await asyncio.wait_for(reconnected.wait(), 10)
        assert bus.connected
        assert (bus.connected_since or 0.0) > since > 0
        await eventually(lambda: answers == 3, within=20, what="the kept message arrives")
    assert nats_server.token not in caplog.text


async def test_request_in_flight_is_asked_again_after_the_connection_was_lost(
    nats_server: BundledNats, subject: str
) -> None:
    async with connected(nats_server.url) as bus:
        came = asyncio.Event()
        seen: list[bytes] = []

        async def answer(msg: Msg) -> None:
            seen.append(msg.data)
            came.set()
            if len(seen) > 1:
                await msg.respond(b"second time")

        await bus.subscribe(subject, answer)
        asked = asyncio.create_task(bus.request(subject, b"once", timeout=30))
        await asyncio.wait_for(came.wait(), 20)
        await kill(nats_server)
        await nats_server.start()
        assert await asked == b"second time"
        assert seen == [b"once", b"once"]


async def test_request_gives_up_while_the_server_is_away(
    nats_server: BundledNats, subject: str
) -> None:
    async with connected(nats_server.url) as bus:
        await kill(nats_server)
        with pytest.raises(Unreachable, match="connection"):
            await bus.request(subject, b"", timeout=0.5)


async def test_what_is_published_while_away_is_bounded(
    nats_server: BundledNats, subject: str
) -> None:
    async with connected(nats_server.url) as bus:
        await kill(nats_server)
        await eventually(lambda: not bus.connected, within=20, what="the loss is noticed")
        piece = bytes(256 * 1024)
        for _ in range(2 * BUFFER // len(piece)):
            await bus.publish(subject, piece)
        got = 0

        def take(msg: Msg) -> None:
            nonlocal got
            got += len(msg.data)

        await bus.subscribe(subject, take)
        await nats_server.start()
        assert await bus.wait_connected(10)
        await eventually(lambda: got > BUFFER // 2, within=10, what="what was kept arrives")
        assert got <= BUFFER


async def test_connection_that_the_client_gave_up_is_made_anew(
    nats_server: BundledNats, subject: str
) -> None:
    """The client library closes for good on a protocol error; the bus does not."""
    async with connected(nats_server.url) as bus:
        reconnected = asyncio.Event()
        bus.on_reconnect(reconnected.set)

        async def answer(msg: Msg) -> None:
            await msg.respond(b"still here")

        await bus.subscribe(subject, answer)
        await bus._client._process_err("'Unknown Protocol Operation'")
        await asyncio.wait_for(reconnected.wait(), 10)
        assert await bus.request(subject, b"", timeout=5) == b"still here"


async def test_restart_with_another_token_and_back(tmp_path: Path, subject: str) -> None:
    """A server that refuses us for a while is asked again until it does not."""
    ours = BundledNats(tmp_path / "ours")
    await ours.start()
    try:
        async with connected(ours.url) as bus:
            await ours.stop()
            stranger = BundledNats(tmp_path / "stranger", port=ours.port)
            await stranger.start()
            try:
                assert not await bus.wait_connected(1.0)
            finally:
                await stranger.stop()
            await ours.start()
            assert await bus.wait_connected(10)
    finally:
        await ours.stop()
