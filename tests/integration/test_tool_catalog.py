"""What a room knows of its tool servers, and what participants are offered."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest

from actors.addresses import Address, ToolAddress
from actors.bus import Bus
from actors.tools.catalog import ToolCatalog
from actors.tools.config import ToolServers, parse
from actors.tools.listing import LISTED, TOOLS, WHO, ListedTool, Listing
from api.nats_server import BundledNats
from events.blobs import MemoryBlobs
from events.canonical import canonical_json
from events.config import SessionConfig
from events.errors import ConfigError, ControlRoomError, ToolStarting, ToolUnavailable
from events.grants import ToolGrant
from events.values import Blob
from tests.waiting import eventually


def servers(*names: str) -> ToolServers:
    entries = {name: {"command": "x", "env": {"KEY": "${SET}"}} for name in names}
    return parse(json.dumps({"mcpServers": entries}))


def grants(*given: Any) -> tuple[ToolGrant, ...]:
    return tuple(ToolGrant.model_validate(each) for each in given)


def config(*given: Any) -> SessionConfig:
    seat = {"id": "a", "provider": "p", "model_name": "m", "role": "A", "tools": list(given)}
    return SessionConfig.model_validate({"session_id": "s", "models": [seat]})


class Known:
    """A catalog on a real bus, and somebody who speaks for the servers."""

    def __init__(self, bus: Bus, *names: str) -> None:
        self.bus = bus
        self.blobs = MemoryBlobs()
        self.catalog = ToolCatalog(servers(*names), {"SET": "1"}, self.blobs.get)
        self.wanted: list[Address] = []

    async def say(self, server: str, *tools: str, problem: str = "") -> None:
        listed = tuple(ListedTool(name=tool, parameters={"type": "object"}) for tool in tools)
        content = canonical_json(LISTED.dump_python(listed, mode="json"))
        blob = None if problem else self.blobs.put(content, "application/json")
        listing = Listing(server=server, up=not problem, problem=problem, tools=blob)
        await self.bus.publish(TOOLS, listing)

    async def knows(self, *given: Any) -> None:
        await eventually(lambda: self.catalog.ready(config(*given)), within=10, what="the list")

    async def ensure(self, address: Address) -> None:
        self.wanted.append(address)

    def put(self, content: bytes) -> Blob:
        return self.blobs.put(content, "application/json")


async def known(url: str, *names: str) -> Known:
    made = Known(await Bus.connect(url), *names)
    await made.catalog.listen(made.bus)
    return made


async def test_who_runs_is_asked_at_the_start(nats_server: BundledNats) -> None:
    bus = await Bus.connect(nats_server.url)
    asked = asyncio.Event()
    await bus.subscribe(WHO, lambda _: asked.set())
    room = await known(nats_server.url, "files")
    await asyncio.wait_for(asked.wait(), 10)
    await room.bus.close()
    await bus.close()


async def test_what_is_offered_is_what_is_granted(nats_server: BundledNats) -> None:
    room = await known(nats_server.url, "files", "web")
    await room.say("files", "read", "write")
    await room.say("web", "näh")
    await room.knows("files", "web")
    offered = room.catalog.offers(
        grants("files", {"server": "files", "tools": ["write", "gone"], "approval": True}, "web"),
        room.put,
    )
    calls = offered["calls"]
    assert list(calls)[:2] == ["files__read", "files__write"]
    assert [(one["tool"], one["approval"]) for one in calls.values()] == [
        ("read", False),
        ("write", True),
        ("näh", False),
    ]
    content = room.blobs.get(Blob.model_validate(offered["offered"]))
    assert [one["name"] for one in json.loads(content)] == list(calls)
    assert json.loads(content)[0] == {
        "name": "files__read",
        "description": "",
        "parameters": {"type": "object"},
    }
    revision = room.catalog.revision
    await room.say("files", "read", "write")
    await room.say("web", "other")
    await eventually(lambda: room.catalog.revision > revision, within=10, what="the change")
    assert room.catalog.revision == revision + 1  # the same list again is none
    await room.bus.close()


async def test_a_list_that_another_has_replaced_is_forgotten(nats_server: BundledNats) -> None:
    room = await known(nats_server.url, "files")
    await room.say("files", "read")
    await room.knows("files")
    before = [weakref.ref(tool) for tool in room.catalog.tools("files") or ()]
    assert room.catalog.tools("files") == tuple(tool() for tool in before)
    revision = room.catalog.revision
    await room.say("files", "write")
    await eventually(lambda: room.catalog.revision > revision, within=10, what="the change")
    assert [tool.name for tool in room.catalog.tools("files") or ()] == ["write"]
    gc.collect()
    assert [tool() for tool in before] == [None]
    await room.bus.close()


async def test_what_is_not_there_is_refused_by_name(nats_server: BundledNats) -> None:
    room = await known(nats_server.url, "files")
    room.catalog.check("a", grants("files:anything"))  # nobody knows better yet
    await room.say("files", "read", "write")
    await room.knows("files")
    room.catalog.check("a", grants("files:read"))
    with pytest.raises(ConfigError, match="has no tool 'no': use one of read, write"):
        room.catalog.check("a", grants("files:no"))
    with pytest.raises(ConfigError, match="'web' is not configured"):
        room.catalog.check("a", grants("web"))
    bare = ToolCatalog(servers("files"), {}, room.blobs.get)
    with pytest.raises(ConfigError, match="tool server 'files' needs SET"):
        bare.check("a", grants("files"))
    await room.bus.close()


async def test_a_turn_waits_for_a_list_that_was_never_seen(nats_server: BundledNats) -> None:
    room = await known(nats_server.url, "files")
    with pytest.raises(ToolStarting, match="'files' are not known yet: it is starting"):
        room.catalog.offers(grants("files"), room.put)
    waiting = asyncio.create_task(room.catalog.wait(config("files"), room.ensure, 30))
    await eventually(lambda: room.wanted == [ToolAddress("files")], within=10, what="its start")
    await room.say("files", "read")
    await asyncio.wait_for(waiting, 10)
    assert list(room.catalog.offers(grants("files"), room.put)["calls"]) == ["files__read"]
    await room.say("files", problem="its program ended")
    await room.catalog.wait(config("files"), room.ensure, 0.1)  # it is known what it had
    assert list(room.catalog.offers(grants("files"), room.put)["calls"]) == ["files__read"]
    await room.bus.close()


async def test_a_turn_does_not_wait_for_what_has_failed(nats_server: BundledNats) -> None:
    room = await known(nats_server.url, "files", "web")
    waiting = asyncio.create_task(room.catalog.wait(config("files"), room.ensure, 30))
    await eventually(lambda: room.wanted, within=10, what="its start")
    await room.say("files", problem="its program ended with code 1")
    await asyncio.wait_for(waiting, 10)
    with pytest.raises(ToolUnavailable, match="ended with code 1") as caught:
        room.catalog.offers(grants("files"), room.put)
    assert not isinstance(caught.value, ToolStarting)

    async def refused(address: Address) -> None:
        raise ControlRoomError(f"no place for {address}")

    await asyncio.wait_for(room.catalog.wait(config("web"), refused, 30), 10)
    with pytest.raises(ToolUnavailable, match="no place for tool server web"):
        room.catalog.offers(grants("web"), room.put)
    await room.bus.close()
