"""The whole room as `make run` starts it, in processes of its own that tests may kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from api.client import Event, RoomClient
from api.reaper import MARK
from api.running import noted
from events.open import open_blobs, open_store
from events.types import TURN_ENDS, TurnStarted
from projections.audit import audit
from projections.replay import replay
from projections.runner import ProjectionRunner
from tests.projected import dump
from tests.servers.ports import candidate_ports
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
READY_WITHIN = 110.0
"""Seconds. Ray alone takes ten on an idle machine of two cores."""
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class LiveRoom:
    """A room in `home`. `client` speaks to it; `acknowledged` are the turns it answered for."""

    def __init__(self, home: Path, providers: tuple[dict[str, Any], ...] = ()) -> None:
        self.home = home
        self.port = next(candidate_ports())
        self.acknowledged: list[tuple[str, str]] = []
        self.said = ""
        self.process: asyncio.subprocess.Process | None = None
        self.client = RoomClient(f"http://127.0.0.1:{self.port}")
        home.mkdir(parents=True, exist_ok=True)
        if providers:
            (home / "providers.json").write_text(json.dumps({"providers": list(providers)}))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CONTROL_ROOM_HOME": str(self.home),
            "CONTROL_ROOM_PORT": str(self.port),
        }

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns when the room says that it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli", "serve", "--no-demo"),
            cwd=ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdout
        self.said = ""
        async with asyncio.timeout(READY_WITHIN):
            async for line in self.process.stdout:
                self.said += line.decode()
                if line.startswith(b"Ready"):
                    return
        raise AssertionError(f"the room ended: {self.said}")

    async def stop(self) -> str:
        """Ctrl-C; returns what the room still said. Nothing of it may be left running."""
        assert self.process
        marked = self.processes()
        self.process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode == 0, rest.decode()
        assert [process for process in marked if _runs(process)] == []
        return rest.decode()

    async def end(self) -> None:
        """Whatever the test did: nothing is left."""
        await self.client.close()
        if self.process is not None and self.process.returncode is None:
            await self.stop()

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the mark of this room's run."""
        pid = self.pid("nats")
        mark = psutil.Process(pid).environ()[MARK]
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def pid(self, name: str) -> int:
        """The process of that name, as the room notes it."""
        return int(noted(self.home / "run")[name]["pid"])

    def pid_of_model(self, provider: str, model: str) -> int:
        """The process that hosts a model."""
        for facts in noted(self.home / "run").values():
            if [provider, model] in facts.get("models", ()):
                return int(facts["pid"])
        raise AssertionError(f"nobody hosts {provider}/{model}")

    def kill(self, name: str) -> int:
        """`kill -9` by name; returns the process id."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def back(self, name: str, old: int) -> None:
        """Returns when another process stands in for the one that was killed."""
        await eventually(
            lambda: name in noted(self.home / "run") and self.pid(name) != old,
            within=READY_WITHIN,
            what=f"{name} to be back",
        )

    # --- sessions --------------------------------------------------------------------------------

    async def create(self, session: str, *models: str, **changes: Any) -> None:
        """A session of participants `p1`, `p2`, ...; each model is `provider/model_name`."""
        seats = []
        for number, model in enumerate(models, 1):
            provider, _, name = model.partition("/")
            seats.append(
                {"id": f"p{number}", "provider": provider, "model_name": name, "role": f"r{number}"}
            )
        await self.client.create_session({"session_id": session, "models": seats, **changes})

    async def post(self, session: str, content: str = "What shall we build?") -> str:
        """Post; when this returns, the room has answered for the turn."""
        turn = (await self.client.post_turn(session, content))["turn"]
        self.acknowledged.append((session, turn))
        return turn

    async def hear(self, session: str, step: str, within: float = 60) -> None:
        """Returns at the first piece of a step's answer: it is being streamed."""
        async with asyncio.timeout(within), aclosing(self.client.stream(session)) as stream:
            async for message in stream:
                if not isinstance(message, Event) and message.step == step:
                    return

    async def ended(self, session: str, turn: str, within: float = 120) -> list[Event]:
        """Every event of the session up to the end of `turn`, as the stream gives them."""
        events: list[Event] = []
        async with asyncio.timeout(within), aclosing(self.client.stream(session)) as stream:
            async for message in stream:
                if isinstance(message, Event):
                    events.append(message)
                    if message.type in ENDS and message.turn == turn:
                        break
        assert [event.position for event in events] == list(range(1, len(events) + 1))
        return events

    # --- what has to hold in the end -------------------------------------------------------------

    async def check(self, scratch: Path) -> None:
        """Of a room that has stopped: nothing acknowledged is lost, nothing is there twice."""
        url = f"sqlite:///{self.home / 'room.db'}"
        store, blobs = open_store(url, read_only=True), open_blobs(url)
        try:
            report = await audit(store)
            assert report.intact, report.faults
            started: Counter[tuple[str, str | None]] = Counter()
            ended: Counter[tuple[str, str | None]] = Counter()
            for head in await store.heads():
                assert head.open_turn is None
                events = await store.read(head.stream)
                assert [event.position for event in events] == list(range(1, head.position + 1))
                outcomes = Counter(
                    (event.turn, event.step)
                    for event in events
                    if event.type in ("model.answered", "model.failed", "model.cancelled")
                )
                assert set(outcomes.values()) <= {1}
                for event in events:
                    if isinstance(event.data, TurnStarted):
                        started[head.stream, event.turn] += 1
                    elif isinstance(event.data, TURN_ENDS):
                        ended[head.stream, event.turn] += 1
                again = await replay(store, blobs, head.stream)
                assert again.identical, again.divergence
            assert started == ended == Counter(self.acknowledged)
            fresh = scratch / "rebuilt.db"
            async with ProjectionRunner(store, fresh) as runner:
                await runner.catch_up()
            kept = self.home / "projections.db"
            async with ProjectionRunner(store, kept) as runner:
                await runner.catch_up()  # the runner may have been stopped before the last page
            assert dump(fresh) == dump(kept)
        finally:
            await store.close()
            blobs.close()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
