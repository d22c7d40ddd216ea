"""Whether the process is alive, and whether the room behind it is ready."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Response

from api.doors import Doors, Inside
from api.openapi import problems
from api.views import Health, Readiness
from events.errors import ControlRoomError

_log = logging.getLogger(__name__)

router = APIRouter(tags=["room"])


@router.get("/healthz", operation_id="health", responses=problems())
async def health() -> Health:
    """The API's process is alive."""
    return Health()


@router.get(
    "/readyz",
    operation_id="readiness",
    responses={
        503: {"model": Readiness, "description": "Something is missing"},
        **problems(),
    },
)
async def readiness(doors: Inside, response: Response) -> Readiness:
    """Messages can be posted and read: NATS, the event store and every router answer."""
    found = await asyncio.gather(_store(doors), _routers(doors))
    missing = tuple(what for what in found if what)
    response.status_code = 503 if missing else 200
    return Readiness(ready=not missing, missing=missing)


async def _store(doors: Doors) -> str | None:
    try:
        await doors.room.store.last()
    except ControlRoomError as error:
        _log.warning("the event store cannot be read: %s", error)
        return "the event store cannot be read"
    return None


async def _routers(doors: Doors) -> str | None:
    if not doors.room.bus.connected:
        return "no connection to NATS"
    silent = await doors.commands.missing_routers()
    return f"no router answers for partitions {_ranges(silent)}" if silent else None


def _ranges(numbers: tuple[int, ...]) -> str:
    """Ascending numbers in short: `0-3, 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}-{b}" if a != b else f"{a}" for a, b in runs)
