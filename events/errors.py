"""Every error that Control Room raises on purpose.

ControlRoomError
├── ConfigError                 what was asked for cannot be: unknown key, model, provider, cursor
│   └── Refused                 valid, but not now: the session is closed, the queue is full
├── ProviderError               a model did not answer
│   ├── AuthenticationFailed    401, 403: the key is missing, wrong or not allowed
│   ├── ModelNotFound           404: the provider has no model of that name
│   ├── RateLimited             429 (retryable, `retry_after` in seconds where the provider says)
│   ├── ProviderUnavailable     no connection, 5xx, loading, time-out, stalled stream (likewise)
│   ├── ContextTooLong          the request does not fit the model
│   ├── ContentFiltered         the provider refused the content
│   └── BadResponse             an answer that is not one: cut stream, malformed JSON (retryable)
├── ToolError                   a tool call failed
│   ├── ToolUnavailable         its server does not start or cannot be reached (retryable)
│   │   └── ToolStarting        not yet: nothing is known of what it has
│   ├── ToolNotFound            its server has no tool of that name
│   ├── BadArguments            they do not fit the tool's schema
│   ├── ToolTimeout             no answer in the time that the server's configuration sets
│   ├── ToolLost                its server or actor ended meanwhile: it may have been carried out
│   └── BadResult               what came back is no result, or too much
├── BudgetExceeded              the step was stopped before it was sent
├── StoreError                  the event store did not do what was asked
│   ├── Conflict                (stream, position) is taken: fold again and decide again (retryable)
│   └── Tampered                what is stored is not what was written; names the position
├── UnknownEvent                a stored type or version that this release does not know
├── RouterFault                 a router broke its contract: it raised, or awaited something foreign
└── ReplayDiverged              replay made another event than the log holds
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from events.values import Usage


class ControlRoomError(Exception):
    """Root of all errors raised on purpose.

    `retryable` tells whether the same call may succeed later without a change by the caller.
    """

    retryable: bool = False

    def __init__(self, message: str, *, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retryable is not None:
            self.retryable = retryable


class ConfigError(ControlRoomError):
    """What was asked for cannot be; the message says what to change."""


class Refused(ConfigError):
    """Well formed, but not possible in the session's present state."""


class ProviderError(ControlRoomError):
    """A model did not answer.

    `accepted` tells that its server took the request and may have worked on it, which may have to
    be paid for: whoever asks again may pay twice. `usage` is what the server said that it used for
    an answer that came to its end and does not count.
    """

    accepted: bool = False
    usage: Usage | None = None

    def after_work(self) -> Self:
        """This error, of a request that was accepted."""
        self.accepted = True
        return self


class AuthenticationFailed(ProviderError):
    """The provider refused the credentials."""


class ModelNotFound(ProviderError):
    """The provider does not know the model."""


class RateLimited(ProviderError):
    """The provider asks to come back later; `retry_after` is in seconds where it said when."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderUnavailable(ProviderError):
    """No connection, a server error, a model still loading, a time-out or a stalled stream.

    `retry_after` is in seconds where the provider said when it will be there again. A model that
    is only loading is waited for at most `loads_within` seconds, which are no failures.
    """

    retryable = True

    def __init__(
        self, message: str, *, retry_after: float | None = None, loads_within: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.loads_within = loads_within


class ContextTooLong(ProviderError):
    """The request does not fit into the model's context."""


class ContentFiltered(ProviderError):
    """The provider refused the content."""


class BadResponse(ProviderError):
    """The provider's answer is not one: cut stream, malformed JSON, wrong content type."""

    retryable = True


class ToolError(ControlRoomError):
    """A tool call failed."""


class ToolUnavailable(ToolError):
    """The tool's server does not start or cannot be reached; nothing was called."""

    retryable = True


class ToolStarting(ToolUnavailable):
    """The tool's server was never seen, and is being started."""


class ToolNotFound(ToolError):
    """The server has no tool of that name."""


class BadArguments(ToolError):
    """The arguments do not fit the tool's schema; the message says how to mend them."""


class ToolTimeout(ToolError):
    """The tool gave no answer in time, and its server was told that none is wanted any more."""


class ToolLost(ToolError):
    """The tool's server, or its actor, ended meanwhile: the call may have been carried out."""


class BadResult(ToolError):
    """What the server sent is no result of a tool, or more than can be kept."""


class BudgetExceeded(ControlRoomError):
    """A step was stopped before it was sent, because it could cost more than is left."""


class StoreError(ControlRoomError):
    """The event store did not do what was asked."""


class Conflict(StoreError):
    """Another writer holds the position; fold again and decide again."""

    retryable = True


class Tampered(StoreError):
    """What is stored is not what was written.

    `position` is the first bad position of `stream` (0 where the whole stream is concerned).
    """

    def __init__(self, stream: str, position: int, what: str) -> None:
        super().__init__(f"{stream} at position {position}: {what}")
        self.stream, self.position, self.what = stream, position, what


class UnknownEvent(ControlRoomError):
    """A stored event type or version that this release does not know."""


class RouterFault(ControlRoomError):
    """A router raised, or awaited something that is not a step of its turn."""


class ReplayDiverged(ControlRoomError):
    """Replay made another event than the log holds at `position`."""

    def __init__(self, position: int, expected: object, actual: object) -> None:
        super().__init__(
            f"replay diverged at position {position}: "
            f"the log holds {expected}, replay made {actual}"
        )
        self.position, self.expected, self.actual = position, expected, actual
