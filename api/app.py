"""The API: every door that speaks HTTP, on a room that is put together elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from api.commands import PATIENCE
from api.doors import Doors
from api.guard import Guard
from api.mcp_door.door import McpDoor
from api.openai_door import routes as openai_routes
from api.openapi import DESCRIPTION, describe
from api.posting import ShortPost
from api.problems import add_handlers
from api.room import Room
from api.routes import (
    approvals,
    blobs,
    choices,
    costs,
    estimates,
    events,
    health,
    invoke,
    models,
    pages,
    presets,
    runs,
    sessions,
    stream,
    tools,
    turns,
    views,
)

VERSION = "1"
"""Version of the API's contract, as in the paths."""


def create_app(room: Room, *, patience: float = PATIENCE) -> FastAPI:
    """The API of `room`, whose parts are open and stay its owner's to close.

    `patience` is in seconds: how long one try of a command waits for its router. Run it with its
    lifespan on the event loop of the room's bus; it takes as many connections as the server gives
    it.
    """
    app = _routes()
    app.state.doors = doors = Doors.of(room, patience)
    app.add_middleware(ShortPost, doors=doors)
    app.add_middleware(Guard, settings=room.settings)
    if room.settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(room.settings.allowed_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After", "Idempotency-Key"],
        )
    return app


def document() -> dict[str, Any]:
    """The OpenAPI document of every room, to generate a client from."""
    return _routes().openapi()


def _routes() -> FastAPI:
    app = FastAPI(
        title="Control Room",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    modules = (sessions, turns, approvals, presets, runs, invoke, estimates, events)
    for module in (*modules, views, costs, choices, models, tools, blobs, health, stream, pages):
        app.include_router(module.router)
    app.include_router(openai_routes.router)
    app.state.mcp = McpDoor()
    app.router.routes.append(Route("/mcp", app.state.mcp, include_in_schema=False))
    add_handlers(app)
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    doors: Doors = app.state.doors
    async with doors.opened():
        try:
            yield
        finally:
            await app.state.mcp.close()
