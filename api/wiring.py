"""Where the parts are put together, for each process of the room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.bus import Bus
from actors.tools.config import configured
from api.known import known_providers
from api.room import Room
from api.settings import Settings
from events.errors import ConfigError
from events.open import open_blobs, open_store
from events.store import EventStore
from projections.database import open_reader
from projections.runner import ProjectionRunner

_log = logging.getLogger(__name__)

STORE_MADE_WITHIN = 120.0
"""Seconds in which the router has to have made the store, at the very first start."""


@asynccontextmanager
async def api_room(settings: Settings) -> AsyncIterator[Room]:
    """What the API works with: it reads the store, and sends commands over NATS."""
    bus = await Bus.connect(settings.nats_url, name="api")
    store = await _reader(settings)
    room = Room(
        settings=settings,
        bus=bus,
        store=store,
        blobs=open_blobs(settings.store_url),
        projections=open_reader(settings.projections_path),
        providers=known_providers(settings),
        tool_servers=configured(settings.tools_path),
    )
    try:
        yield room
    finally:
        await store.close()
        await bus.close()


@asynccontextmanager
async def projection_runner(settings: Settings) -> AsyncIterator[ProjectionRunner]:
    """The one writer of the projections."""
    bus = await Bus.connect(settings.nats_url, name="projections")
    store = await _reader(settings)
    try:
        yield ProjectionRunner(store, settings.projections_path, bus)
    finally:
        await store.close()
        await bus.close()


async def _reader(settings: Settings) -> EventStore:
    """The store for reading, as soon as its writer has made it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STORE_MADE_WITHIN
    while True:
        try:
            return await asyncio.to_thread(open_store, settings.store_url, read_only=True)
        except ConfigError:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(0.1)
