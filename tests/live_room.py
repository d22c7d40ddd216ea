"""The whole room as it is started on a machine, in processes of its own that tests may kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from api.client import Event, RoomClient
from api.reaper import marked
from api.running import noted
from events.open import open_blobs, open_store
from tests.servers.ports import candidate_ports
from tests.sound_log import assert_projected, assert_sound
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
SERVE = (sys.executable, "-m", "api.cli", "serve", "--no-demo")
READY_WITHIN = 250.0
"""Seconds. Ray alone takes ten on an idle machine of two cores, and a minute on a busy one."""
STOP_WITHIN = 60.0
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class LiveRoom:
    """A room in `home`. `client` speaks to it; `acknowledged` are the turns it answered for."""

    def __init__(self, home: Path, providers: tuple[dict[str, Any], ...] = ()) -> None:
        self.home = home
        self.port = next(candidate_ports())
        self.acknowledged: dict[str, list[str]] = defaultdict(list)
        self.said: list[str] = []
        """The lines that it has put on the terminal, since its last start."""
        self.marks: set[str] = set()
        self.process: asyncio.subprocess.Process | None = None
        self.client = RoomClient(f"http://127.0.0.1:{self.port}")
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
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
            *SERVE,
            cwd=ROOT,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = []
        self._ready.clear()
        self._reading = asyncio.create_task(self._listen(self.process))
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait(
            {ready, ended}, timeout=READY_WITHIN, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        ended.cancel()
        assert self._ready.is_set(), f"the room is not ready: {self.said}"
        self.marks.add(self.facts("serve")["mark"])

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self.said.append(line.decode().rstrip())
            if line.startswith(b"Ready"):
                self._ready.set()

    async def stop(self) -> list[str]:
        """Ctrl-C; returns what the room still said. Nothing of it may be left running."""
        assert self.process
        before = len(self.said)
        self.process.send_signal(signal.SIGINT)
        await asyncio.wait_for(self.process.wait(), STOP_WITHIN)
        await self._over()
        assert self.process.returncode == 0, self.said
        assert self.left() == []
        return [line for line in self.said[before:] if line]

    async def ended_by(self, kill: int) -> None:
        """Returns when the room that was killed, by a signal to this process, is wholly gone."""
        assert self.process
        assert await self.process.wait() == -kill
        await eventually(lambda: not self.left(), within=30, what="the end of every process")
        await self._over()

    async def _over(self) -> None:
        if self._reading is not None:
            await asyncio.wait_for(self._reading, 10)

    async def end(self) -> None:
        """Whatever the test did: nothing is left."""
        await self.client.close()
        if self.process is not None and self.process.returncode is None:
            await self.stop()

    # --- processes -------------------------------------------------------------------------------

    def facts(self, name: str) -> dict[str, Any]:
        """What the room notes of one of its processes."""
        return noted(self.home / "run")[name]

    def pid(self, name: str) -> int:
        """The process of that name, as the room notes it."""
        return int(self.facts(name)["pid"])

    def names(self) -> dict[int, str]:
        """The noted processes by their ids; some may have ended."""
        return {int(facts["pid"]): name for name, facts in noted(self.home / "run").items()}

    def pid_of_model(self, provider: str, model: str) -> int:
        """The process that hosts a model."""
        for facts in noted(self.home / "run").values():
            if [provider, model] in facts.get("models", ()):
                return int(facts["pid"])
        raise AssertionError(f"nobody hosts {provider}/{model}")

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the mark of the present run, the watchdog and the parent."""
        mark = self.facts("serve")["mark"]
        pids = {*marked(mark), self.pid("serve"), self.pid("watchdog")}
        return list(_running(pids))

    def left(self) -> list[str]:
        """The command lines of what runs of any run of this room that is over, or shall be."""
        pids = {pid for mark in self.marks for pid in marked(mark)}
        return [f"{process.pid} {process.name()}" for process in _running(pids)]

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

    def log(self, name: str) -> list[str]:
        """The lines of the log of one process, since the start of the room."""
        return (self.home / "logs" / f"{name}.log").read_text().splitlines()

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
        self.acknowledged[session].append(turn)
        return turn

    async def hear(self, session: str, step: str, within: float = 90) -> None:
        """Returns at the first piece of a step's answer: it is being streamed."""
        async with asyncio.timeout(within), aclosing(self.client.stream(session)) as stream:
            async for message in stream:
                if not isinstance(message, Event) and message.step == step:
                    return

    async def ended(self, session: str, turn: str, within: float = 150) -> list[Event]:
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

    # --- what has to hold ------------------------------------------------------------------------

    async def check(self, scratch: Path) -> int:
        """With no turn open: nothing acknowledged is lost or there twice; returns the events.

        The room may run or not, but then its projections must have had time to follow.
        """
        url = f"sqlite:///{self.home / 'room.db'}"
        store, blobs = open_store(url, read_only=True), open_blobs(url)
        try:
            events = await assert_sound(store, blobs, self.acknowledged)
            await assert_projected(store, self.home / "projections.db", scratch)
        finally:
            await store.close()
            blobs.close()
        return events


async def refused(environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a room that does not start, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *SERVE,
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), READY_WITHIN)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


def _running(pids: set[int]) -> Iterator[psutil.Process]:
    for pid in sorted(pids):
        try:
            process = psutil.Process(pid)
            with process.oneshot():  # what is asked of it next is known already
                if process.status() != psutil.STATUS_ZOMBIE:
                    yield process
        except psutil.NoSuchProcess:
            continue
