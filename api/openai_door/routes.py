"""`/openai/v1`: what clients of OpenAI call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path
from fastapi.openapi.models import Example
from fastapi.responses import Response
from starlette.requests import HTTPConnection

from actors.frameworks.numbers import HEADER
from actors.run_tokens import RunToken
from api.doors import Inside
from api.openai_door.answering import Answer
from api.openai_door.backend import Backend
from api.openai_door.bringing import bring
from api.openai_door.faults import OpenAIError
from api.openai_door.forms import ChatCompletion, Model, Models
from api.openai_door.requests import ChatRequest
from api.openai_door.rooms import Rooms
from api.run_backend import RunModels
from api.strict_json import StrictJSONRoute
from api.views import IdempotencyKey

router = APIRouter(prefix="/openai/v1", tags=["openai"], route_class=StrictJSONRoute)

_EXAMPLES: dict[str, Example] = {
    "a room": {
        "value": {
            "model": "room/reviewers",
            "messages": [{"role": "user", "content": "What is a saga?"}],
        }
    },
    "a model, streamed": {
        "value": {
            "model": "rehearsal/steady",
            "messages": [{"role": "user", "content": "What is a saga?"}],
            "stream": True,
        }
    },
}
_EVENT = {
    "type": "object",
    "description": "the data of each event is a chat.completion.chunk, that of the last one [DONE]",
    "properties": {"data": {"type": "string"}},
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route of this door says about the errors that it answers with."""
    said: dict[str, Any] = {"model": OpenAIError, "description": "An error in OpenAI's form"}
    return {**dict.fromkeys((400, *statuses, 422, 500), said), "default": said}


async def _backend(doors: Inside, connection: HTTPConnection) -> AsyncIterator[Backend]:
    run: RunToken | None = connection.scope["state"]["run"]
    if run is None:
        yield Rooms(doors)
        return
    models = RunModels(doors, run, connection.headers.get(HEADER))
    try:
        yield models
    finally:
        models.leave()


Behind = Annotated[Backend, Depends(_backend)]
"""Who answers, as a parameter of a route."""


@router.get("/models", operation_id="list_openai_models", responses=refusals())
async def list_openai_models(backend: Behind) -> Models:
    """What can be asked: saved rooms, the latest sessions and their participants, models."""
    return Models(data=tuple(Model.of(card) for card in await backend.cards()))


@router.get("/models/{model:path}", operation_id="get_openai_model", responses=refusals(404))
async def get_openai_model(
    backend: Behind, model: Annotated[str, Path(description="the name of a model")]
) -> Model:
    """One of them, whether it is listed or not."""
    return Model.of(await backend.card(model))


@router.post(
    "/chat/completions",
    operation_id="create_chat_completion",
    responses={
        200: {
            "model": ChatCompletion,
            "content": {"text/event-stream": {"schema": _EVENT}},
            "description": "The answer, whole or as a stream of chunks",
        },
        **refusals(404, 409, 413, 415, 429, 502, 503, 504),
    },
    response_model=None,
)
async def create_chat_completion(
    doors: Inside,
    backend: Behind,
    body: Annotated[ChatRequest, Body(openapi_examples=_EXAMPLES)],
    key: IdempotencyKey = None,
) -> Response:
    """Ask a room, a session, one of its participants, or a model.

    A session is posted the last message of the user; of all others the messages of the request are
    the context, in a session of their own with the tag `door`. A client that goes away calls the
    turn off.
    """
    return Answer(
        backend,
        await bring(doors.room.blobs, body),
        key,
        stream=body.stream,
        usage=body.stream_options is not None and body.stream_options.include_usage,
        answers=body.include_answers,
    )
