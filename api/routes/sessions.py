"""Sessions: create, list, get, change, pause, resume, close."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from actors.messages import (
    Accepted,
    Close,
    CreateSession,
    Pause,
    Reconfigure,
    Resume,
)
from api.doors import Doors, Inside
from api.idempotency import named, under
from api.openapi import problems
from api.problems import ProblemError
from api.projected import all_caught_up
from api.strict_json import StrictJSONRoute
from api.views import (
    SESSION_EXAMPLE,
    Done,
    IdempotencyKey,
    Limit,
    NewSession,
    Page,
    SessionChanges,
    SessionId,
    SessionView,
    Tag,
    command_id,
)
from events.config import SessionConfig
from events.values import Blob
from projections.sessions import SessionPage, Status

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=StrictJSONRoute)

CARRIED = 256 * 1024
"""Bytes of a configuration that a command carries itself; a longer one goes as a blob."""


@router.post(
    "",
    operation_id="create_session",
    status_code=201,
    responses={
        200: {"model": SessionView, "description": "It was there already, with this config"},
        **problems(400, 409, 413, 415, 503),
    },
)
async def create_session(
    doors: Inside,
    response: Response,
    body: Annotated[NewSession, Body(openapi_examples={"three roles": {"value": SESSION_EXAMPLE}})],
    key: IdempotencyKey = None,
) -> SessionView:
    """Begin a session.

    The same `session_id` with the same configuration again is the same session; with another one
    that is a 409. Without a `session_id` it is given one, the same under the same key.
    """
    with under(key) as known:
        config = body.config
        if "session_id" not in body.model_fields_set:
            id = f"sess_{named(doors.principal, known)[:16]}"
            config = config.model_copy(update={"session_id": id})
        command = CreateSession(
            session=config.session_id,
            by=doors.principal,
            id=known,
            config=await carried(doors, config),
        )
        accepted = await doors.commands.send(command)
    response.status_code = 200 if accepted.repeated else 201
    response.headers["Location"] = f"/v1/sessions/{accepted.session}"
    return await _view(doors, accepted.session)


@router.get("", operation_id="list_sessions", responses=problems())
async def list_sessions(
    doors: Inside,
    limit: Limit = 50,
    cursor: Page = None,
    tag: Tag = None,
    status: Annotated[Status | None, Query(description="only those in this state")] = None,
) -> SessionPage:
    """The sessions, the latest first.

    Those that a client of OpenAI made with a single request have the tag `door`, and are listed by
    that tag alone.
    """
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.sessions, limit, cursor, tag, status)


@router.get("/{session_id}", operation_id="get_session", responses=problems(404))
async def get_session(doors: Inside, session_id: SessionId) -> SessionView:
    """A session: its configuration, its status, its turns in short, its position."""
    return await _view(doors, session_id)


@router.patch(
    "/{session_id}",
    operation_id="reconfigure_session",
    responses=problems(400, 404, 409, 413, 415, 503),
)
async def reconfigure_session(
    doors: Inside,
    session_id: SessionId,
    body: Annotated[
        SessionChanges,
        Body(openapi_examples={"another pattern": {"value": {"routing_pattern": "voting"}}}),
    ],
    key: IdempotencyKey = None,
) -> SessionView:
    """Replace keys of the configuration; they take effect with the next turn."""
    changes = body.changes()
    if len(body.model_dump_json(exclude_unset=True)) > CARRIED:
        raise ProblemError("too-large", f"changes have at most {CARRIED} bytes: make several")
    command = Reconfigure(
        session=session_id, by=doors.principal, id=command_id(key), changes=changes
    )
    await doors.commands.send(command)
    return await _view(doors, session_id)


@router.post("/{session_id}/pause", operation_id="pause_session", responses=problems(404, 409, 503))
async def pause_session(doors: Inside, session_id: SessionId, key: IdempotencyKey = None) -> Done:
    """Let calls in flight finish, and issue no new step until resumed."""
    command = Pause(session=session_id, by=doors.principal, id=command_id(key))
    return _done(await doors.commands.send(command), "paused")


@router.post(
    "/{session_id}/resume", operation_id="resume_session", responses=problems(404, 409, 503)
)
async def resume_session(doors: Inside, session_id: SessionId, key: IdempotencyKey = None) -> Done:
    """Go on where it was paused."""
    command = Resume(session=session_id, by=doors.principal, id=command_id(key))
    return _done(await doors.commands.send(command), "active")


@router.post("/{session_id}/close", operation_id="close_session", responses=problems(404, 409, 503))
async def close_session(doors: Inside, session_id: SessionId, key: IdempotencyKey = None) -> Done:
    """Cancel what is open or queued, and take no further turn."""
    command = Close(session=session_id, by=doors.principal, id=command_id(key))
    return _done(await doors.commands.send(command), "closed")


async def _view(doors: Doors, session: str) -> SessionView:
    return SessionView.of(await doors.states.get(session))


async def carried(doors: Doors, config: SessionConfig) -> SessionConfig | Blob:
    """The configuration as a command carries it; a long one is stored first."""
    content = config.model_dump_json().encode()
    if len(content) <= CARRIED:
        return config
    return await asyncio.to_thread(doors.room.blobs.put, content, "application/json")


def _done(accepted: Accepted, status: str) -> Done:
    return Done(session_id=accepted.session, position=accepted.position, status=status)
