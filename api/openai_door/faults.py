"""Errors in the form that clients of OpenAI expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

PREFIX = "/openai/"
"""Every error below this path has OpenAI's form."""

_CODES = {
    "unauthorized": "invalid_api_key",
    "not-found": "not_found",
    "refused": "conflict",
    "too-large": "request_too_large",
    "unavailable": "unavailable",
}


class OpenAIErrorBody(BaseModel):
    """What is wrong."""

    message: str = Field(description="what is wrong, and what to do")
    type: str = Field(description="invalid_request_error, rate_limit_error or server_error")
    param: str | None = Field(default=None, description="which part of the request it is about")
    code: str | None = Field(default=None, description="a word for programs")


class OpenAIError(BaseModel):
    """An error, as clients of OpenAI expect it."""

    error: OpenAIErrorBody


class DoorError(Exception):
    """Raised at the door to answer with that status.

    Clients repeat some requests by themselves; unless `again`, they are told not to: the room has
    asked as often as it makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        again: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = {} if again else {"x-should-retry": "false"}

    @property
    def body(self) -> dict[str, Any]:
        """`{"error": {...}}`."""
        return body(self.status, self.message, self.code, self.param)

    @property
    def response(self) -> Response:
        """The response that says it."""
        return _response(self.body, self.status, self.headers)


def body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The JSON of an error."""
    if status == 429:
        kind = "insufficient_quota" if code == "insufficient_quota" else "rate_limit_error"
    else:
        kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def of_problem(
    kind: str, status: int, detail: str, field: str | None, headers: Mapping[str, str]
) -> Response:
    """A problem of that kind (see `api.problems`) in this form.

    What can never be (422) is 400 here.
    """
    status = 400 if status == 422 else status
    return _response(body(status, detail, _CODES.get(kind), field), status, headers)


def _response(content: dict[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    return Response(
        orjson.dumps(content),
        status_code=status,
        media_type="application/json",
        headers=dict(headers),
    )
