"""The OpenAPI document: problems instead of FastAPI's own errors, for every operation."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import KINDS, MEDIA_TYPE, ProblemDetails, kind_of

TAGS = [
    {"name": "sessions", "description": "Who sits in a room, and how it is routed."},
    {"name": "turns", "description": "Messages, and everything that follows from them."},
    {"name": "approvals", "description": "Calls of tools that wait for a person."},
    {"name": "presets", "description": "Rooms and toolchains that are saved under a name."},
    {"name": "runs", "description": "Workflows of other frameworks on the room's models."},
    {"name": "events", "description": "Everything that happened, by cursor or as it happens."},
    {"name": "views", "description": "What it means: transcript, costs, replay."},
    {"name": "openai", "description": "The room as clients of OpenAI know a server."},
    {"name": "room", "description": "Models, providers, long texts, files, health."},
]

DESCRIPTION = """
A self-hosted control room for several language models at once.

Every session is one append-only stream of events; a **cursor** is a position in it. Whatever is
refused is answered with a problem (RFC 9457) whose `detail` says what to do.

`WS /v1/sessions/{session_id}/stream?after=POSITION` sends, in text frames, every event beyond the
cursor as `{"type": "event", "position", "event": CloudEvents JSON}` and the pieces of the answers
that are being written as `{"type": "delta", "turn", "step", "attempt", "participant", "channel",
"seq", "text"}`. The channels are `text`, `reasoning`, and `status`, whose last line says what an
answer waits for. Come back with the position of the last event that you have: every event comes
once, and the pieces of open steps come again from their first character (`seq` 0). With
`lines=true` a frame may hold several of these objects, one a line. A client may say
`{"type": "approve" | "deny", "turn", "step", "reason"}` to a call of a tool that waits for that,
and `{"type": "answer", "turn", "step", "question", "action": "accept" | "decline" | "cancel",
"content"}` to what a tool asks. It is told `{"type": "accepted" | "refused", "id", ...}`, where
`id` is what it gave besides, and `detail` says why; the same `id` again changes nothing. The stream
closes with 4404 for an unknown session and 4422 for a wrong cursor. Where the room has a token,
browsers offer the sub-protocols `control-room.v1` and `bearer.` followed by the token in base64url
without padding.
"""

_ALWAYS = (422, 500)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route says about the problems that it answers with."""
    return {
        status: {
            "description": KINDS[kind_of(status)].title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in (*statuses, *_ALWAYS)
    }


def describe(app: FastAPI) -> None:
    """Give `app` its OpenAPI document."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=TAGS,
        routes=app.routes,
    )
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    own = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(own.pop("$defs"))
    schemas["ProblemDetails"] = own
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "the value of CONTROL_ROOM_TOKEN or one of CONTROL_ROOM_TOKENS, where "
            "the room has some",
        }
    }
    document["security"] = [{}, {"token": []}]
    for operation in _operations(document):
        responses = operation["responses"]
        responses.setdefault("default", problems(422)[422] | {"description": "Any other problem"})
    return document


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    methods = ("get", "put", "post", "delete", "patch", "head", "options")
    return [item[name] for item in document["paths"].values() for name in methods if name in item]
