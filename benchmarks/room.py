"""A real room, as `control-room serve` starts it, in a temporary data directory."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from api.reaper import MARK, marked
from benchmarks.machine import command_line, cores, on_core, processor_seconds, started_at

READY_WITHIN = 120.0
STOP_WITHIN = 40.0
"""Seconds."""

_READY = re.compile(r"Ready: (http://\S+)")


class RoomProcess:
    """A running room: its address, and every process of it."""

    def __init__(self, url: str, pid: int, home: Path, ready_after: float) -> None:
        self.url = url
        self.pid = pid
        self.home = home
        self.ready_after = ready_after
        """Seconds from its start until it said that it is ready."""

    def pids(self) -> list[int]:
        """The processes of the room, by the mark that they carry."""
        environment = Path(f"/proc/{self.pid}/environ").read_bytes()
        for child in marked(""):
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            values = dict(part.split(b"=", 1) for part in variables if b"=" in part)
            if values.get(b"CONTROL_ROOM_HOME") == str(self.home).encode():
                mark = values[MARK.encode()].decode()
                return sorted({self.pid, *marked(mark)})
        return [self.pid] if environment else []

    def parts(self) -> dict[int, str]:
        """What each process is, by its id."""
        return named(self.pids())

    def processor_seconds(self) -> dict[int, float]:
        """Processor time of each process so far."""
        return processor_seconds(self.pids())


def named(pids: list[int]) -> dict[int, str]:
    """What the processes of a room are, by their command lines; the first host is the router."""
    names: dict[int, str] = {}
    hosts = []
    for pid in pids:
        line = command_line(pid)
        if line.startswith("ray::Host"):
            hosts.append(pid)
        names[pid] = next((name for part, name in _PARTS.items() if part in line), "other")
    for pid in sorted(hosts, key=started_at):
        names[pid] = "model actor" if "router" in names.values() else "router"
    return names


_PARTS = {
    "api.cli": "serve",
    "api.server": "API",
    "api.projector": "projections",
    "api.supervisor": "supervisor (Ray driver)",
    "nats-server": "nats-server",
    "gcs_server": "Ray's own",
    "raylet": "Ray's own",
    "ray::": "Ray's own",
    "ray/": "Ray's own",
}


@asynccontextmanager
async def running_room(
    provider_url: str,
    *,
    home: Path | None = None,
    models_per_process: int = 1,
    nats_url: str = "",
) -> AsyncIterator[RoomProcess]:
    """A room on the core of what is measured, with the provider `bench` at that URL.

    It is ended when this is left. Without `home` its data go with it.
    """
    with tempfile.TemporaryDirectory(prefix="room-") as folder:
        home = home or Path(folder)
        home.mkdir(exist_ok=True)
        providers = home / "providers.json"
        config = {"base_url": provider_url, "max_concurrency": 1000}
        providers.write_text(
            json.dumps({"providers": [{"id": "bench", "type": "openai", "config": config}]})
        )
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CONTROL_ROOM_")}
        environment = {
            **inherited,
            "CONTROL_ROOM_HOME": str(home),
            "CONTROL_ROOM_PORT": "0",
            "CONTROL_ROOM_MODELS_PER_PROCESS": str(models_per_process),
            "CONTROL_ROOM_LOG_LEVEL": "warning",
            "CONTROL_ROOM_NATS": nats_url,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
        }
        with on_core(cores()[1]):
            began = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "api.cli",
                "serve",
                "--no-demo",
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        try:
            url = await asyncio.wait_for(_address(process), READY_WITHIN)
            yield RoomProcess(url, process.pid, home, time.perf_counter() - began)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.communicate(), STOP_WITHIN)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said = []
    async for line in process.stdout:
        said.append(line.decode())
        if found := _READY.search(said[-1]):
            return found[1]
    raise RuntimeError("the room did not start: " + "".join(said)[-2000:])
