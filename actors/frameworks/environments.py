"""The Python environments of frameworks that cannot live in the room's own.

Each is made from a lock that comes with the room, hashed and complete, in the data directory:
`HOME/frameworks/NAME`. What is installed there is what the lock of this release says, or it counts
as not installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Final, Literal

from events.errors import ConfigError, ControlRoomError

NAMES: Final = ("crewai",)
"""The frameworks that have an environment of their own."""

_MADE_FROM: Final = "made-from"
"""The file in an environment that says from which lock, by which Python; written last."""

State = Literal["installed", "outdated", "not installed"]


def lock_of(name: str) -> Path:
    """The lock of that environment. A `ConfigError` where there is no such environment."""
    if name not in NAMES:
        raise ConfigError(
            f"{name!r} has no environment of its own: only {', '.join(NAMES)} has to be installed"
        )
    beside = Path(__file__).parent / "requirements" / f"{name}.txt"  # in a wheel
    if beside.exists():
        return beside
    return Path(__file__).parents[2] / "requirements" / f"{name}.txt"


def folder_of(name: str, home: Path) -> Path:
    """Where the environment is."""
    return home / "frameworks" / name


def state_of(name: str, home: Path) -> State:
    """Whether it is there, as the lock of this release says."""
    folder = folder_of(name, home)
    try:
        made_from = (folder / _MADE_FROM).read_text()
    except OSError:
        return "not installed"
    if not os.access(_python(folder), os.X_OK):  # Ray would try to start it for ever
        return "outdated"
    return "installed" if made_from == _source(name) else "outdated"


def interpreter_of(name: str, home: Path) -> Path:
    """Its Python, which finds the package `actors` of this room and nothing else of it.

    A `ConfigError` says what to do where it is not installed.
    """
    state = state_of(name, home)
    if state != "installed":
        raise ConfigError(
            f"the environment of {name} is {state}: run `control-room frameworks install {name}`"
        )
    folder = folder_of(name, home)
    _lend(folder)
    return _python(folder)


def install(name: str, home: Path) -> bool:
    """Make the environment; False where it is there already.

    Takes a minute or two, about a gigabyte, and the network. A `ControlRoomError` says what went
    wrong; it counts as not installed then. Whoever else installs it meanwhile is waited for.
    """
    folder = folder_of(name, home)
    source = _source(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if state_of(name, home) == "installed":
            return False
        (folder / _MADE_FROM).unlink(missing_ok=True)
        _run(
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            "the virtual environment could not be made",
        )
        pip = "-m pip --quiet --disable-pip-version-check --no-input install --no-compile"
        _run(
            [
                str(_python(folder)),
                *pip.split(),
                *("--no-deps", "--require-hashes", "--requirement", str(lock_of(name))),
            ],
            f"the libraries of {name} could not be installed (this takes the network, or a mirror"
            " that pip is configured for)",
        )
        (folder / _MADE_FROM).write_text(source)
    return True


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _lend(folder: Path) -> None:
    """Have the environment import our `actors`, wherever the room is by now.

    A link rather than an entry of the search path: beside `actors` are often the room's libraries.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    link = folder / "lib" / version / "site-packages" / "actors"
    ours = Path(__file__).parents[1]
    if link.is_symlink() and link.readlink() == ours:
        return
    new = link.with_name(f"actors.{token_hex(8)}")  # several runs may begin at once
    new.symlink_to(ours)
    new.replace(link)


def _source(name: str) -> str:
    digest = hashlib.sha256(lock_of(name).read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor}\n"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ControlRoomError(f"{failure}: {said[-1] if said else f'exit {done.returncode}'}")
