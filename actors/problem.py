"""An error of the room as the answer to a command."""

from __future__ import annotations

from actors.deciding import NotFound
from actors.messages import Problem
from events.errors import ConfigError, ControlRoomError, Refused


def problem(error: ControlRoomError) -> Problem:
    """An error as the API reports it."""
    match error:
        case NotFound():
            status = 404
        case Refused():
            status = 409
        case ConfigError():
            status = 422
        case _:
            status = 503 if error.retryable else 500
    return Problem(status=status, error=type(error).__name__, message=error.message)
