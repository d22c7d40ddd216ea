"""Errors as RFC 9457 problem details, whatever they came from.

Every answer of 400 and more is `application/problem+json`. Its `type` names the kind of problem for
good and leads to a description under `/problems/`; `detail` says what to do. Only clients of OpenAI
expect another form, which they are given at their door.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from actors.deciding import NotFound
from api.openai_door import faults
from events.errors import ConfigError, ControlRoomError, Refused
from events.faults import faults as in_words

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 2  # seconds


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its status, its title, and what it means."""

    status: int
    title: str
    meaning: str


KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "Malformed request", "The body cannot be read as JSON."),
    "unauthorized": Kind(
        401, "Token required", "Send the room's token as 'Authorization: Bearer TOKEN'."
    ),
    "forbidden": Kind(
        403, "Not from there", "The Host or the Origin of the request is not one of this room's."
    ),
    "not-found": Kind(404, "Not found", "The session, turn or page does not exist."),
    "method-not-allowed": Kind(
        405, "Method not allowed", "The page exists, but not for this method: see 'Allow'."
    ),
    "refused": Kind(
        409, "Not possible now", "Well formed, but not possible in the session's present state."
    ),
    "too-large": Kind(413, "Too large", "The body is longer than the room takes."),
    "unsupported-media-type": Kind(
        415,
        "Unsupported media type",
        "Send JSON, with 'Content-Type: application/json'; files as images or texts.",
    ),
    "invalid": Kind(422, "Invalid request", "What was asked for can never be; 'errors' says why."),
    "fault": Kind(500, "Internal error", "The room failed; its log says how."),
    "not-answered": Kind(
        502, "No answer", "The model that was asked did not answer; 'detail' says why."
    ),
    "unavailable": Kind(
        503, "Not available now", "A part of the room is away: repeat the same request later."
    ),
}
CURSOR = (
    "a cursor is the position of the last event that you have, a whole number from 0 (nothing "
    "yet) to the position of the last event; answers name it 'position' or 'next'"
)
_BY_STATUS = {kind.status: name for name, kind in KINDS.items()}


class FieldProblem(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="where: a path into the body, or the name of a parameter")
    message: str = Field(description="what is wrong with it")


class ProblemDetails(BaseModel):
    """A problem, as RFC 9457 has it."""

    type: str = Field(description="kind of problem: the path of its description")
    title: str = Field(description="the kind in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what is wrong here, and what to do")
    instance: str = Field(description="path of the request")
    errors: tuple[FieldProblem, ...] | None = Field(
        default=None, description="what is wrong field by field"
    )


class ProblemError(Exception):
    """Raised anywhere in a request to answer with a problem of that kind.

    It is `uncertain` where what was asked for may have been done all the same.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        uncertain: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.uncertain = kind, detail, uncertain
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        if KINDS[kind].status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER))


def kind_of(status: int) -> str:
    """The kind of problem that a status stands for."""
    return _BY_STATUS.get(status, "fault" if status >= 500 else "invalid")


def of_error(error: ControlRoomError) -> ProblemError:
    """An error of the room as a problem."""
    match error:
        case NotFound():
            return ProblemError("not-found", error.message)
        case Refused():
            return ProblemError("refused", error.message)
        case ConfigError():
            return ProblemError("invalid", error.message)
        case _:
            return ProblemError("unavailable" if error.retryable else "fault", error.message)


def answer(error: ProblemError, path: str, status: int | None = None) -> Response:
    """The response that says `error`: in the form of OpenAI below its door."""
    kind = KINDS[error.kind]
    if path.startswith(faults.PREFIX):
        field = error.errors[0].field if error.errors else None
        return faults.of_problem(
            error.kind, status or kind.status, error.detail, field, error.headers
        )
    body: dict[str, Any] = {
        "type": f"/problems/{error.kind}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": error.detail,
        "instance": path,
    }
    if error.errors:
        body["errors"] = [fault.model_dump() for fault in error.errors]
    return Response(
        orjson.dumps(body),
        status_code=status or kind.status,
        media_type=MEDIA_TYPE,
        headers=error.headers,
    )


def add_handlers(app: FastAPI) -> None:
    """Have `app` answer every error as a problem."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(ControlRoomError, _room_error)
    app.add_exception_handler(faults.DoorError, _door_error)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def path_of(scope: Scope) -> str:
    """The path as it came, percent-encoded: what was decoded may hold anything."""
    return str(
        scope.get("raw_path") or scope["path"].encode("ascii", "replace"), "ascii", "replace"
    )


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return answer(error, path_of(request.scope))


async def _door_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, faults.DoorError)
    return error.response


async def _room_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ControlRoomError)
    problem = of_error(error)
    if KINDS[problem.kind].status == 500:
        _log.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return answer(problem, path_of(request.scope))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = kind_of(error.status_code)
    detail = {
        400: "the body cannot be read: send JSON in UTF-8",
        404: f"there is no {request.url.path!r:.200} here: see /docs",
        405: f"{request.method} is not possible here: see /docs",
        413: "the body is longer than this room takes",
    }.get(error.status_code, str(error.detail))
    problem = ProblemError(kind, detail, headers=error.headers)
    return answer(problem, path_of(request.scope), error.status_code)


async def _fault(request: Request, error: Exception) -> Response:
    # The server logs it: it is raised again when this is answered.
    detail = "the room failed on this request: its log says how; please report it"
    return answer(ProblemError("fault", detail), path_of(request.scope))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(
        explained(error.errors(), request.headers.get("content-type")), path_of(request.scope)
    )


def explained(faults: Sequence[Any], content_type: str | None = None) -> ProblemError:
    """What pydantic found wrong, as a problem that names every field and no value."""
    if faults and faults[0]["type"] == "json_invalid":
        reason = faults[0].get("ctx", {}).get("error", "")
        return ProblemError("malformed", f"the body is not JSON: {reason}")
    for fault in faults:
        if fault["loc"] == ("body",) and not _is_json(content_type) and fault["type"] != "missing":
            return ProblemError(
                "unsupported-media-type",
                "the body is read as JSON only: send 'Content-Type: application/json'",
            )
    errors = tuple(
        FieldProblem(field=_field(place), message=_message(place, message))
        for place, message in in_words(faults)
    )
    detail = "; ".join(f"{each.field}: {each.message}" for each in errors[:5])
    if len(errors) > 5:
        detail += f"; and {len(errors) - 5} more"
    return ProblemError("invalid", detail, errors=errors)


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind.startswith("application/") and kind.endswith(("/json", "+json"))


def _field(place: Iterable[Any]) -> str:
    where, *path = (str(part)[:100] for part in place)
    return ".".join(path) or where


def _message(place: Sequence[Any], message: str) -> str:
    if place[-1] in ("after", "Last-Event-ID"):
        return f"is not a cursor: {CURSOR}"
    return message
