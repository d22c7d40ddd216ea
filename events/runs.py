"""What happens with a workflow: its run starts, calls at the room's doors, and ends.

A run is one open turn of a session. Its calls come from outside, so each is an input; the step that
is made of it is derived, as with any router.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from events.payload import Derived, Input
from events.values import Blob, Digest, Id, Parameters, Text


class RunStarted(Derived):
    """The workflow of the session is to run, on what the turn's message says."""

    type: ClassVar[str] = "run.started"
    framework: str


class RunRestarted(Input):
    """The run was broken off, so it runs again as `attempt`: what it did before is not done again.

    Its calls get the recorded outcomes, as long as they are those of before.
    """

    type: ClassVar[str] = "run.restarted"
    attempt: int = Field(ge=2)
    reason: str


class RunAsked(Input):
    """The workflow asks a model of the session.

    `given` is the JSON list of the messages, `tools` what it offers and calls itself, one of which
    has to be called where `tool_choice` says so, `parameters` what it sets of its own; `digest` is
    the SHA-256 of all that, by which a repeated run finds it.
    """

    type: ClassVar[str] = "run.asked"
    attempt: int = Field(ge=1)
    participant: Id
    given: Blob
    tools: Blob | None = None
    tool_choice: Literal["required"] | None = None
    parameters: Parameters
    digest: Digest


class RunCalled(Input):
    """The workflow calls a tool, by the name under which it is offered."""

    type: ClassVar[str] = "run.called"
    attempt: int = Field(ge=1)
    name: str
    arguments: Text
    digest: Digest


class RunMatched(Input):
    """A call of a repeated run, which gets what the step got that an earlier attempt made of it."""

    type: ClassVar[str] = "run.matched"
    attempt: int = Field(ge=2)
    digest: Digest


class RunCompleted(Input):
    """The workflow's result: its text, and the JSON text of all of it.

    The duration is in milliseconds; `versions` are those of the framework's packages.
    """

    type: ClassVar[str] = "run.completed"
    attempt: int = Field(ge=1)
    output: Text
    result: Text
    duration_ms: float
    versions: dict[str, str] = Field(default_factory=dict)


class RunFailed(Input):
    """The workflow gave no result: the error's class name and what to do about it."""

    type: ClassVar[str] = "run.failed"
    attempt: int = Field(ge=1)
    error: str
    message: str
    retryable: bool
    unheard: bool = Field(default=False, description="nothing was heard of the run any more")


class RunCancelled(Derived):
    """The run is not wanted any more."""

    type: ClassVar[str] = "run.cancelled"
    reason: Literal["race_lost", "turn_ended"]


RUN_PAYLOADS = (
    RunStarted,
    RunRestarted,
    RunAsked,
    RunCalled,
    RunMatched,
    RunCompleted,
    RunFailed,
    RunCancelled,
)
