"""`control-room serve`: the parent of every process of a room on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import httpx2
from rich.console import Console
from rich.text import Text

from actors.providers.config import configured
from actors.providers.discovery import discover
from actors.tools.config import configured as tool_servers
from api.checkpoint import checkpoint
from api.children import Child, how_ended
from api.known import write_found
from api.lock import only_room
from api.nats_server import BundledNats
from api.preconditions import check_outside
from api.process import prepare
from api.reaper import MARK, PART, end_marked, watchdog
from api.running import note
from api.settings import Settings, default_home
from events.errors import ConfigError, ControlRoomError
from events.open import sqlite_path

_log = logging.getLogger(__name__)

Demo = Literal["never", "once", "always"]
"""When the demonstration is held: once is in a room that has no session yet."""
READY_WITHIN = 240.0
"""Seconds in which everything has to be ready at the first start."""
STOP_WITHIN = {"api": 8.0, "projector": 5.0, "supervisor": 15.0}
"""Seconds that each child has for a clean end, in the order of stopping."""
RAY_ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Without a cluster to join, Ray listens to this machine only, here as on those systems."""
CHILDREN = {"supervisor": "api.supervisor", "projector": "api.projector", "api": "api.server"}


def serve(settings: Settings, *, demo: Demo) -> int:
    """Run the room until Ctrl-C or SIGTERM; returns the exit code (0 after a clean end).

    Every process that it starts ends with it, however it ends.
    """
    prepare(settings.log_level)
    console = Console()
    try:
        with only_room(settings.lock_path):
            return asyncio.run(_serve(settings, console, demo))
    except ControlRoomError as error:
        problem = Text(f"control-room: {error.message}", style="red")
        Console(stderr=True).print(problem, soft_wrap=True)
        return 2 if isinstance(error, ConfigError) else 1


async def _serve(settings: Settings, console: Console, demo: Demo) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.create_task(_run(settings, console, demo))
    until = asyncio.create_task(stop.wait())
    await asyncio.wait({work, until}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        console.print("\nStopping the room ...")
        work.cancel()
    until.cancel()
    try:
        await work
    except asyncio.CancelledError:
        console.print("The room has stopped. What was said in it is kept.")
        return 0
    return 1


async def _run(settings: Settings, console: Console, demo: Demo) -> None:
    # Bad files are refused before all else.
    configured(settings.providers_path, settings.environment)
    tool_servers(settings.tools_path)
    settings = settings.model_copy(update={"port": _usable_port(settings)})
    await check_outside(settings)
    console.print(Text(f"Starting Control Room in {settings.home} ..."), soft_wrap=True)
    settings.logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in settings.run_dir.glob("*.json"):
        old.unlink()
    for log in settings.logs_dir.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))  # what led to a crash can still be read
    write_found(settings, await discover())
    url = settings.url
    async with _processes(settings, url):
        await _until_ready(settings, url)
        console.print(f"Ready: [bold]{url}[/bold]", highlight=False, soft_wrap=True)
        if demo != "never":
            await _demonstrate(settings, url, console, demo)
        _next_steps(settings, url, console)
        await asyncio.Event().wait()


@asynccontextmanager
async def _processes(settings: Settings, url: str) -> AsyncIterator[None]:
    """NATS and all children, running; all ended afterwards, whatever they have started too."""
    room = hashlib.sha256(str(settings.home).encode()).hexdigest()[:16]
    mark = f"{room}-{secrets.token_hex(4)}"
    await asyncio.to_thread(end_marked, f"{room}-")  # we hold the lock, so these are leftovers
    os.environ[MARK] = mark  # for NATS; children get theirs below
    dog = subprocess.Popen(  # noqa: ASYNC220  # starts in a millisecond and is never waited for
        watchdog(mark),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", "")},
    )
    note(settings.run_dir, "serve", url=url, mark=mark)
    note(settings.run_dir, "watchdog", dog.pid)
    try:
        async with _nats(settings) as nats_url:
            children = [_child(settings, name, nats_url) for name in CHILDREN]
            try:
                for child in children:
                    await child.start()
                yield
            finally:
                by_name = {child.name: child for child in children}
                for name, within in STOP_WITHIN.items():
                    await by_name[name].stop(within)
    finally:
        await asyncio.to_thread(end_marked, mark)
        if settings.store_url.startswith("sqlite:"):
            await asyncio.to_thread(checkpoint, sqlite_path(settings.store_url))
        await asyncio.to_thread(shutil.rmtree, settings.scratch_dir, ignore_errors=True)
        dog.kill()
        dog.wait()


@asynccontextmanager
async def _nats(settings: Settings) -> AsyncIterator[str]:
    """The URL of the configured NATS server, or of the bundled one, which is kept running."""
    if settings.nats_url:
        yield settings.nats_url
        return
    server = BundledNats(settings.nats_dir, port=settings.nats_port)
    await server.start()
    note(settings.run_dir, "nats", server.pid)
    keeper = asyncio.create_task(keep_nats(server, settings.run_dir))
    try:
        yield server.url
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await server.stop()


async def keep_nats(server: BundledNats, run: Path) -> None:
    """Start `server` again whenever it ends, however often that fails; never returns."""
    while True:
        code = await server.wait()
        _log.warning("nats-server %s; starting it again", how_ended(code))
        while server.pid is None:
            try:
                await server.restart()
            except ControlRoomError as error:
                _log.error("nats-server does not start: %s", error)
                await asyncio.sleep(1)
        note(run, "nats", server.pid)


def _child(settings: Settings, name: str, nats_url: str) -> Child:
    environment = {
        **settings.environment,
        MARK: os.environ[MARK],
        PART: name,
        "CONTROL_ROOM_HOME": str(settings.home),
        "CONTROL_ROOM_HOST": settings.host,
        "CONTROL_ROOM_PORT": str(settings.port),
        "CONTROL_ROOM_NATS": nats_url,
        "PYTHONUNBUFFERED": "1",
    }
    if not settings.ray:
        environment |= RAY_ON_LOOPBACK
    log = settings.logs_dir / f"{name}.log"
    command = [sys.executable, "-m", CHILDREN[name]]
    # Ray's own processes may outlive the supervisor, and its actors hold on to the store.
    sweep = partial(end_marked, os.environ[MARK], name)
    return Child(name, command, environment, log=log, run=settings.run_dir, sweep=sweep)


def _usable_port(settings: Settings) -> int:
    """The port, a free one for 0; a busy one is refused before anything is started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host.strip("[]"), settings.port))
            port: int = probe.getsockname()[1]
        except OSError as error:
            raise ConfigError(
                f"port {settings.port} on {settings.host} cannot be used ({error.strerror}): stop "
                "the program that uses it, or set CONTROL_ROOM_PORT to another"
            ) from None
    return port


async def _until_ready(settings: Settings, url: str) -> None:
    """Returns when the API says that it is ready; raises with what is missing otherwise."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN
    missing = "no answer yet"
    async with httpx2.AsyncClient(trust_env=False) as client:
        while loop.time() < deadline:
            try:
                answer = await client.get(f"{url}/readyz", timeout=5)
            except httpx2.HTTPError as error:
                missing = f"no answer yet ({type(error).__name__})"
            else:
                if answer.is_success:
                    return
                missing = answer.json().get("detail", answer.text)
            await asyncio.sleep(0.1)
    raise ControlRoomError(
        f"the room was not ready within {READY_WITHIN:g} s: {missing}. Its logs are in "
        f"{settings.logs_dir}"
    )


async def _demonstrate(settings: Settings, url: str, console: Console, demo: Demo) -> None:
    from api.client import RoomClient
    from api.demonstration import demonstrate, demonstrate_once

    token = next((token.get_secret_value() for token in settings.principals.values()), None)
    async with RoomClient(url, token) as client:
        hold = demonstrate_once if demo == "once" else demonstrate
        if not await hold(client, console):
            console.print("[red]The demonstration did not end as it should: see above.[/red]")


def _next_steps(settings: Settings, url: str, console: Console) -> None:
    program = sys.argv[0] if sys.argv[0].endswith("control-room") else "control-room"
    setting = f"CONTROL_ROOM_HOME={settings.home} " if settings.home != default_home() else ""
    commands = "".join(
        f"  {setting}{program} {command:<14} {what}\n"
        for command, what in (
            ("chat", "talk to five models at once"),
            ("sessions", "what was said so far"),
            ("audit verify", "check that the log was not touched"),
        )
    )
    console.print(
        f"\nThe room is open at [bold]{url}[/bold]; its API is described at "
        f"[bold]{url}/docs[/bold].\nTry, in another terminal:\n"
        f"{commands}"
        "Ctrl-C stops the room.",
        highlight=False,
        soft_wrap=True,
    )
