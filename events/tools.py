"""What happens with tools: a call is wanted, approved or denied, made, and answered."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from events.grants import ServerName
from events.payload import Derived, Input
from events.values import Attachment, Id, Text, Value


class ToolUse(Value):
    """A call as it is wanted; `arguments` is the JSON text as the model wrote it.

    `participant` wants it, in its answer of the step `asked_in`, under its own `call_id`; a router
    or a workflow that calls by itself is nobody, and has asked in no step.
    """

    name: str = Field(description="as it was offered: server__tool")
    arguments: Text
    participant: Id | None = None
    asked_in: str | None = None
    call_id: str = ""


class ToolCalled(Derived):
    """A tool is called, once: what may have been carried out is never repeated by itself."""

    type: ClassVar[str] = "tool.called"
    use: ToolUse
    server: ServerName
    tool: str = Field(description="as its server calls it")


class ToolRefused(Derived):
    """The call is not made, and why: what is told to the model, which can mend it."""

    type: ClassVar[str] = "tool.refused"
    use: ToolUse
    reason: str


class ToolCancelled(Derived):
    """The call, or its approval, is not wanted any more."""

    type: ClassVar[str] = "tool.cancelled"
    reason: Literal["race_lost", "turn_ended"]


class ToolReturned(Input):
    """What a tool gave back. With `is_error` the tool itself says that it could not.

    `structured` is the JSON text of its structured content; `attachments` are pictures and other
    content, by hash. The duration is in milliseconds. `protocol` is the version of MCP that was
    spoken, `implementation` the server's own name and version.
    """

    type: ClassVar[str] = "tool.returned"
    attempt: int = Field(ge=1)
    text: Text
    structured: Text | None = None
    attachments: tuple[Attachment, ...] = ()
    is_error: bool = False
    duration_ms: float
    protocol: str | None = None
    implementation: str | None = None
    notes: tuple[str, ...] = Field(default=(), description="what was left out or changed")


class ToolFailed(Input):
    """The call gave nothing: the error's class name and what to do about it."""

    type: ClassVar[str] = "tool.failed"
    attempt: int = Field(ge=1)
    error: str
    message: str
    retryable: bool
    duration_ms: float | None = None
    unheard: bool = Field(
        default=False, description="nothing was heard of the call: it may have been carried out"
    )


class ApprovalRequested(Derived):
    """A person is asked whether the call may be made; the deadline stands still meanwhile."""

    type: ClassVar[str] = "approval.requested"
    use: ToolUse
    server: ServerName
    tool: str


class ApprovalGranted(Input):
    """A person allows the call; it is made now."""

    type: ClassVar[str] = "approval.granted"
    reason: str = Field(default="", max_length=4000)


class ApprovalDenied(Input):
    """A person does not allow the call; the model is told, with the reason."""

    type: ClassVar[str] = "approval.denied"
    reason: str = Field(default="", max_length=4000)


class ElicitationRequested(Input):
    """A tool asks the person something while it works; the deadline stands still meanwhile.

    The answer shall follow `form`, a JSON schema; with `url` the person is sent there instead.
    """

    type: ClassVar[str] = "elicitation.requested"
    attempt: int = Field(ge=1)
    id: Id
    message: str = Field(max_length=16_000)
    form: dict[str, Any] | None = None
    url: str | None = Field(default=None, max_length=4000)


class ElicitationAnswered(Input):
    """What the person says to that."""

    type: ClassVar[str] = "elicitation.answered"
    id: Id
    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None


TOOL_PAYLOADS = (
    ToolCalled,
    ToolRefused,
    ToolCancelled,
    ToolReturned,
    ToolFailed,
    ApprovalRequested,
    ApprovalGranted,
    ApprovalDenied,
    ElicitationRequested,
    ElicitationAnswered,
)
