"""What of a room's settings lies outside of it and has to be there when the room starts.

Later losses are ridden out by whoever uses it; at the start they are mostly a wrong setting.
"""

from __future__ import annotations

import asyncio
import os
import re

from actors.bus import Bus, Unreachable
from api.settings import PREFIX, Settings
from events.errors import ConfigError, ControlRoomError
from events.open import open_store, sqlite_path

WITHIN = 5.0
"""Seconds in which a server has to answer."""
STORE_WITHIN = 30.0
"""Seconds in which a database has to have made its tables: another room may be making them."""

_SQLITE = b"SQLite format 3\0"
_RAY = re.compile(r"(?:ray://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@]+):([0-9]{1,5})")
_FOUND_BY_RAY = ("auto", "local")


async def check_outside(settings: Settings) -> None:
    """Raises `ConfigError` where a configured store, NATS server or Ray cluster is not there."""
    if settings.store_url.startswith("sqlite:"):
        await asyncio.to_thread(_check_file, settings.store_url)
    elif settings.store_url != "memory:":
        await _check_store(settings.store_url)
    if settings.nats_url:
        await _check_nats(settings.nats_url)
    if settings.ray:
        await _check_ray(settings.ray)


def _check_file(url: str) -> None:
    """Only looks: what a former run left behind may still hold the file."""
    path = sqlite_path(url).expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            begins = file.read(len(_SQLITE))
    except FileNotFoundError:
        begins = b""
    except OSError as error:
        raise ConfigError(f"{PREFIX}STORE: {path} cannot be used: {error.strerror}") from None
    if begins and begins != _SQLITE:
        raise ConfigError(f"{PREFIX}STORE: {path} is not an event store: name another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{PREFIX}STORE: {path} cannot be written: check who owns it")


async def _check_store(url: str) -> None:
    try:
        async with asyncio.timeout(STORE_WITHIN):
            store = await asyncio.to_thread(open_store, url)
    except TimeoutError:
        raise ConfigError(
            f"{PREFIX}STORE: the database does not answer within {STORE_WITHIN:g} s"
        ) from None
    except ControlRoomError as error:
        raise ConfigError(f"{PREFIX}STORE: {' '.join(error.message.split())}") from None
    await store.close()


async def _check_nats(url: str) -> None:
    try:
        bus = await Bus.connect(url, name="serve", within=WITHIN)
    except Unreachable as error:
        raise ConfigError(error.message) from None
    await bus.close()


async def _check_ray(address: str) -> None:
    if address in _FOUND_BY_RAY:
        return
    match = _RAY.fullmatch(address)
    if match is None:
        raise ConfigError(
            f"{PREFIX}RAY: {address!r} is no address of a Ray cluster: write it as HOST:PORT"
        )
    try:
        async with asyncio.timeout(WITHIN):
            _, writer = await asyncio.open_connection(match[1].strip("[]"), int(match[2]))
    except (OSError, TimeoutError, OverflowError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else str(error)
        raise ConfigError(
            f"{PREFIX}RAY: no Ray cluster at {address} ({why}): start it, or leave {PREFIX}RAY out"
            " to have Ray started here"
        ) from None
    writer.close()
