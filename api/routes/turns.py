"""Turns: post, look at, cancel, retry; with or without waiting for the end."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Body, Request
from fastapi.openapi.models import Example
from fastapi.responses import Response

from actors.messages import CancelTurn, PostTurn, RetryTurn
from api.attachments import attached
from api.doors import Doors, Inside
from api.openapi import problems
from api.problems import ProblemError
from api.strict_json import StrictJSONRoute
from api.views import (
    Done,
    IdempotencyKey,
    NewTurn,
    RetryRequest,
    SessionId,
    TurnAccepted,
    TurnId,
    Wait,
    command_id,
)
from api.waiting import accepted, post, view_of
from events.types import Retry
from events.values import SPILL, Message, Text
from projections.answers import TurnView

router = APIRouter(
    prefix="/v1/sessions/{session_id}/turns", tags=["turns"], route_class=StrictJSONRoute
)

MAX_MESSAGE = 1024 * 1024
"""Bytes of UTF-8 of one message."""

_FILE = {"name": "hello.py", "media_type": "text/x-python", "data": "cHJpbnQoImhlbGxvIikK"}
_EXAMPLES: dict[str, Example] = {
    "a question": {"value": {"content": "What is a saga?"}},
    "with a file": {"value": {"content": "What does this do?", "attachments": [_FILE]}},
}
_POSTED = {
    200: {"model": TurnView, "description": "The turn has ended (only with `wait`)"},
    202: {"model": TurnAccepted, "description": "The turn is committed"},
    **problems(400, 404, 409, 413, 415, 503),
}


@router.post("", operation_id="post_turn", status_code=202, responses=_POSTED, response_model=None)
async def post_turn(
    *,
    doors: Inside,
    request: Request,
    session_id: SessionId,
    body: Annotated[NewTurn, Body(openapi_examples=_EXAMPLES)],
    key: IdempotencyKey = None,
    wait: Wait = None,
) -> Response:
    """Post a message to a session, with images and texts attached where it has some.

    The answer means that it is committed: the turn has been started, or queued behind the open one.
    With `wait` it comes when the turn has ended, and then holds everyone's answers.
    """
    command = await _command(doors, session_id, body, key)
    return _said(await post(doors, request, command, wait))


async def post_message(doors: Doors, session: str, body: NewTurn, key: str | None) -> Response:
    """As `post_turn` without waiting for the turn; raises a `ProblemError`."""
    return _said(accepted(await doors.commands.send(await _command(doors, session, body, key))))


async def _command(doors: Doors, session: str, body: NewTurn, key: str | None) -> PostTurn:
    return PostTurn(
        session=session,
        by=doors.principal,
        id=command_id(key),
        message=Message(
            content=await message_text(doors, body.content),
            attachments=await attached(doors.room.blobs, body.attachments),
        ),
        queue=body.queue,
    )


@router.get("/{turn}", operation_id="get_turn", responses=problems(404))
async def get_turn(doors: Inside, session_id: SessionId, turn: TurnId) -> TurnView:
    """A turn as of now: its status, its answer, everyone's answers and failures so far."""
    return await view_of(doors, session_id, turn)


@router.post("/{turn}/cancel", operation_id="cancel_turn", responses=problems(404, 409, 503))
async def cancel_turn(
    doors: Inside, session_id: SessionId, turn: TurnId, key: IdempotencyKey = None
) -> Done:
    """Call off a turn, open or queued; calls in flight are cancelled down to the provider."""
    command = CancelTurn(session=session_id, by=doors.principal, id=command_id(key), turn=turn)
    accepted = await doors.commands.send(command)
    return Done(session_id=session_id, position=accepted.position, turn=turn, status="cancelled")


@router.post(
    "/{turn}/retry",
    operation_id="retry_turn",
    status_code=202,
    responses=_POSTED,
    response_model=None,
)
async def retry_turn(
    *,
    doors: Inside,
    request: Request,
    session_id: SessionId,
    turn: TurnId,
    body: Annotated[
        RetryRequest, Body(openapi_examples={"one": {"value": {"participant": "model_1"}}})
    ],
    key: IdempotencyKey = None,
    wait: Wait = None,
) -> Response:
    """Ask one participant of an ended turn again; that is a turn of its own."""
    retry = Retry(turn=turn, participant=body.participant)
    command = RetryTurn(session=session_id, by=doors.principal, id=command_id(key), retry=retry)
    return _said(await post(doors, request, command, wait))


def _said(outcome: TurnAccepted | TurnView) -> Response:
    return Response(
        outcome.model_dump_json(),
        status_code=200 if isinstance(outcome, TurnView) else 202,
        media_type="application/json",
    )


async def message_text(doors: Doors, content: str) -> Text:
    """The message as a command carries it; a long one is stored first."""
    if not content.strip():
        raise ProblemError("invalid", "content: the message is empty: write something")
    data = content.encode()
    if len(data) > MAX_MESSAGE:
        raise ProblemError(
            "too-large",
            f"content: the message has {len(data)} bytes, and may have {MAX_MESSAGE}: shorten it, "
            "or post it in parts",
        )
    if len(data) <= SPILL:
        return content
    return await asyncio.to_thread(doors.room.blobs.put, data)
