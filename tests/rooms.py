"""A whole room in one process and one event loop: real NATS, a real store, a real HTTP server.

Router, models and projections are the product's own classes; only what starts them differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from actors import subjects
from actors.addresses import Address, ModelAddress, ToolAddress, WorkflowAddress
from actors.bus import Bus, Msg
from actors.frameworks.execution import execute
from actors.grounds import Grounds
from actors.hosting import ModelHost, refusal
from actors.messages import Ensure, Reply
from actors.providers.config import Providers, ProviderSpec, configured
from actors.router import RouterActor
from actors.tools.actor import ToolServerActor
from actors.tools.config import ToolServers
from actors.workflow import WorkflowActor
from api.app import create_app
from api.doors import Doors
from api.nats_server import BundledNats
from api.room import Room
from api.run_key import run_key
from api.settings import Settings
from events.errors import ControlRoomError
from events.open import open_blobs, open_store
from projections.database import open_reader
from projections.runner import ProjectionRunner
from tests.waiting import eventually

PACED = ProviderSpec(
    id="paced",
    type="rehearsal",
    config={"pace": 10, "stall_timeout": 0.3, "breaker_failures": 0},
)
"""The rehearsal provider, ten times as fast."""


class LocalRoom:
    """A running room. `http` speaks to it; its router can be stopped and started again."""

    def __init__(
        self,
        settings: Settings,
        nats: BundledNats,
        providers: Providers,
        environment: Mapping[str, str],
        tool_servers: ToolServers,
    ) -> None:
        self.settings = settings
        self.tool_servers = tool_servers
        self.tools: dict[str, ToolServerActor] = {}
        self.workflows: dict[str, WorkflowActor] = {}
        self.environment = environment
        self.nats = nats
        self.providers = providers
        self.store = open_store(settings.store_url)
        self.blobs = open_blobs(settings.store_url)
        self.router: RouterActor | None = None
        self.router_bus: Bus
        self.models_bus: Bus
        self.models: ModelHost
        self.room: Room
        self.http: httpx2.AsyncClient
        self.served: Served

    @property
    def port(self) -> int:
        return self.served.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stream_url(self, session: str, after: int | str = 0, **query: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        return f"ws://127.0.0.1:{self.port}/v1/sessions/{session}/stream?after={after}{more}"

    async def start_router(self) -> None:
        self.router_bus = await Bus.connect(self.nats.url, name="router")
        grounds = Grounds(
            self.providers,
            self.environment,
            self.blobs,
            script_folder=self.settings.scripts_path,
            max_participants=self.settings.max_participants,
            daily_budget=self.settings.daily_budget,
            tool_servers=self.tool_servers,
        )
        self.router = RouterActor(
            self.router_bus,
            self.store,
            self.blobs,
            grounds=grounds,
            ensure=self.ensure,
            run_key=run_key(self.settings.home),
        )
        await self.router.start()

    async def ensure(self, address: Address) -> None:
        """Have an actor started."""
        match address:
            case ModelAddress(provider, model):
                await self.models.ensure(provider, model)
            case ToolAddress(server) if server not in self.tools:
                spec = self.tool_servers.find(server)
                actor = ToolServerActor(self.models_bus, self.blobs, spec, self.environment)
                self.tools[server] = actor
                await actor.start()
            case WorkflowAddress(framework) if framework not in self.workflows:
                runner = WorkflowActor(
                    self.models_bus, self.blobs, framework, execute, url=self.url
                )
                self.workflows[framework] = runner
                await runner.start()

    async def answer_ensure(self, msg: Msg) -> None:
        """Answer a request to have an actor started, as the supervisor does."""
        try:
            await self.ensure(Ensure.model_validate_json(msg.data).actor)
        except ControlRoomError as error:
            await msg.respond(refusal(error))
        else:
            await msg.respond(Reply())

    async def stop_tools(self) -> None:
        tools, self.tools = self.tools, {}
        await asyncio.gather(*(actor.stop() for actor in tools.values()))

    async def stop_workflows(self) -> None:
        workflows, self.workflows = self.workflows, {}
        await asyncio.gather(*(actor.stop(0.1) for actor in workflows.values()))

    async def stop_router(self) -> None:
        if self.router is not None:
            await self.router.stop()
            await self.router_bus.close()
            self.router = None

    @asynccontextmanager
    async def following(self, session: str, after: int = 0, **query: Any) -> AsyncIterator[Watcher]:
        """A client of the session's stream."""
        url = self.stream_url(session, after, **query)
        async with connect(url, compression=None, max_size=None, proxy=None) as socket:
            yield Watcher(socket)

    @asynccontextmanager
    async def second_api(self) -> AsyncIterator[LocalRoom]:
        """The same room through another API, which knows nothing of what the first has seen."""
        bus = await Bus.connect(self.nats.url, name="api-2")
        other = copy(self)
        try:
            async with serving(replace(self.room, bus=bus)) as other.served:
                yield other
        finally:
            await bus.close()

    # --- what tests do all the time --------------------------------------------------------------

    async def create(self, session: str = "s1", seats: str = "a b c", **changes: Any) -> str:
        """A session of these participants (see `config`); returns its id."""
        answer = await self.http.post("/v1/sessions", json=config(session, seats, **changes))
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["session_id"])

    async def post(self, session: str, content: str = "Hello", **query: Any) -> dict[str, Any]:
        """Post a message; `wait` waits for the turn's end."""
        answer = await self.http.post(
            f"/v1/sessions/{session}/turns", json={"content": content}, params=query, timeout=60
        )
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())


class Watcher:
    """A client of a stream, and what it was sent so far."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.deltas: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        """The next event or delta."""
        message: dict[str, Any] = json.loads(await self.socket.recv())
        (self.events if message["type"] == "event" else self.deltas).append(message)
        return message

    async def until(self, kind: str, *, within: float = 20, turn: str | None = None) -> Any:
        """The next event of that type (and turn), as CloudEvents JSON."""
        async with asyncio.timeout(within):
            while True:
                message = await self.next()
                event = message.get("event", {})
                if event.get("type") == kind and turn in (None, event["data"]["turn"]):
                    return event

    @property
    def positions(self) -> list[int]:
        return [message["position"] for message in self.events]

    def text(self, step: str, channel: str = "text") -> str:
        """The deltas of a step put together; they have to follow each other from the first on."""
        text = ""
        for delta in self.deltas:
            if (delta["step"], delta["channel"]) == (step, channel):
                assert delta["seq"] == len(text), f"{step}: {delta} after {len(text)} characters"
                text += delta["text"]
        return text


def config(session: str = "s1", seats: str = "a b c", **changes: Any) -> dict[str, Any]:
    """The JSON of a session: `seats` are ids, each with `:model_name` behind it or not."""
    models = []
    for each in seats.split():
        id, _, name = each.partition(":")
        models.append(
            {"id": id, "provider": "paced", "model_name": name or "instant", "role": id.upper()}
        )
    return {"session_id": session, "models": models} | changes


@asynccontextmanager
async def local_room(
    folder: Path,
    *specs: ProviderSpec,
    environment: Mapping[str, str] | None = None,
    tool_servers: ToolServers | None = None,
    **changes: Any,
) -> AsyncIterator[LocalRoom]:
    """A room with its data in `folder`; `changes` are settings by their field names."""
    settings = Settings(home=folder, port=0, **changes)
    environment = environment or {}
    settings._environment.update(environment)
    providers = Providers(*configured(None, environment).values(), PACED, *specs)
    async with contextlib.AsyncExitStack() as stack:
        nats = BundledNats(folder / "nats")
        await nats.start()
        stack.push_async_callback(nats.stop)
        room = LocalRoom(settings, nats, providers, environment, tool_servers or ToolServers())
        stack.push_async_callback(room.store.close)
        room.models_bus = await Bus.connect(nats.url, name="models")
        stack.push_async_callback(room.models_bus.close)
        room.models = ModelHost(room.models_bus, room.blobs, providers, environment)
        stack.push_async_callback(room.models.stop)
        stack.push_async_callback(room.stop_tools)
        stack.push_async_callback(room.stop_workflows)
        await room.models_bus.subscribe(subjects.SUPERVISOR, room.answer_ensure)
        await room.start_router()
        stack.push_async_callback(room.stop_router)
        await stack.enter_async_context(_projecting(room))
        bus = await Bus.connect(nats.url, name="api")
        stack.push_async_callback(bus.close)
        reading = open_store(settings.store_url, read_only=True)
        stack.push_async_callback(reading.close)
        reader = open_reader(settings.projections_path)
        stack.callback(reader.close)
        room.room = Room(settings, bus, reading, room.blobs, reader, providers, room.tool_servers)
        room.served = await stack.enter_async_context(serving(room.room))
        token = settings.token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        room.http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=room.url, headers=headers, timeout=20, trust_env=False)
        )
        yield room


@contextlib.contextmanager
def room_in_a_thread(folder: Path) -> Iterator[LocalRoom]:
    """A room on an event loop of its own, for clients that block theirs: use its URL alone."""
    running: Future[LocalRoom] = Future()
    over = threading.Event()

    async def run() -> None:
        async with local_room(folder) as room:
            running.set_result(room)
            await asyncio.to_thread(over.wait)

    def thread() -> None:
        try:
            uvloop.run(run())
        except BaseException as error:
            if not running.done():
                running.set_exception(error)
            raise

    worker = threading.Thread(target=thread, name="room")
    worker.start()
    try:
        yield running.result(timeout=60)
    finally:
        over.set()
        worker.join(timeout=60)


@asynccontextmanager
async def _projecting(room: LocalRoom) -> AsyncIterator[None]:
    bus = await Bus.connect(room.nats.url, name="projections")
    runner = ProjectionRunner(room.store, room.settings.projections_path, bus)
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()


@dataclass(frozen=True)
class Served:
    """A server that is running."""

    port: int
    server: uvicorn.Server
    doors: Doors


class _Server(uvicorn.Server):
    """A server within somebody else's process, whose signals it leaves alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(room: Room) -> AsyncIterator[Served]:
    """The API of `room` on a port of its own, as the product serves it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(room, patience=0.5)
    server = _Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started or task.done(), within=20, what="the API")
        yield Served(int(listener.getsockname()[1]), server, app.state.doors)
    finally:
        server.should_exit = True
        await task
        listener.close()
