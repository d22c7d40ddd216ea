"""What the entries of a transcript say, as its table keeps it: JSON of `projections.entries`."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from actors.routing.workflow import PURPOSE
from events.runs import RunCompleted
from events.tools import (
    ApprovalDenied,
    ApprovalRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
)
from events.turns import asks_for_tools
from events.types import ModelAnswered, ModelAsked, ModelFailed
from events.values import Message, Value

CallEnd = ToolReturned | ToolFailed | ToolRefused | ToolCancelled | ApprovalDenied
"""What ends the call of a tool."""


class Step(NamedTuple):
    """Who was asked by a step."""

    key: str
    participant: str
    role: str | None
    label: str
    provider: str
    model: str
    purpose: str
    public: bool
    images_left_out: int = 0
    client_tools: tuple[str, ...] | None = None
    """None where no calls of tools are carried out."""

    @classmethod
    def of(cls, key: str, role: str | None, label: str, data: ModelAsked) -> Step:
        """The step of an event."""
        carried_out = data.tools is not None and data.tool_choice != "none"
        return cls(
            key,
            data.participant,
            role,
            label,
            data.provider,
            data.model,
            data.purpose,
            data.public,
            data.images_left_out,
            data.client_tools if carried_out else None,
        )

    def is_interim(self, data: ModelAnswered) -> bool:
        """Whether that answer only asks for calls that are carried out, or is a workflow's."""
        if not self.public:
            return self.purpose == PURPOSE
        client = self.client_tools
        return client is not None and asks_for_tools(data.tool_calls, tuple(client))


class Used(NamedTuple):
    """A call of a tool that has no outcome yet."""

    key: str
    name: str
    server: str | None
    tool: str | None
    participant: str | None
    arguments: Any
    approved: bool = False

    @classmethod
    def of(cls, key: str, data: ToolCalled | ToolRefused | ApprovalRequested) -> Used:
        """The call of an event."""
        use = data.use
        known = None if isinstance(data, ToolRefused) else data
        arguments = use.arguments
        return cls(
            key,
            use.name,
            known.server if known else None,
            known.tool if known else None,
            use.participant,
            arguments if isinstance(arguments, str) else arguments.model_dump(mode="json"),
            isinstance(data, ApprovalRequested),
        )


def called(used: Used, data: CallEnd) -> dict[str, Any]:
    """The body of a call's entry, with what came of it."""
    body: dict[str, Any] = {
        "kind": "call",
        "step": used.key,
        "participant": used.participant,
        "name": used.name,
        "server": used.server,
        "tool": used.tool,
        "arguments": used.arguments,
        "approval": used.approved,
    }
    match data:
        case ToolReturned():
            attachments = [fragment(one) for one in data.attachments]
            return body | {
                "outcome": "returned",
                "text": text(data.text),
                "structured": text(data.structured),
                "attachments": attachments,
                "is_error": data.is_error,
                "duration_ms": data.duration_ms,
            }
        case ToolFailed():
            failed = {"error": data.error, "reason": data.message}
            return body | {"outcome": "failed", "duration_ms": data.duration_ms} | failed
        case ToolRefused(reason=reason):
            return body | {"outcome": "refused", "reason": reason}
        case ApprovalDenied(reason=reason):
            return body | {"outcome": "denied", "reason": reason}
        case ToolCancelled():
            return body | {"outcome": "cancelled"}


def answered(kind: str, step: Step, data: ModelAnswered) -> dict[str, Any]:
    """The body of an answer's entry."""
    return {
        **spoken(kind, step),
        "text": text(data.text),
        "reasoning": text(data.reasoning),
        "usage": fragment(data.usage),
        "cost": None if data.cost is None else fragment(data.cost),
        "finish_reason": data.finish_reason,
        "served_model": data.served_model,
        "first_token_ms": data.first_token_ms,
        "duration_ms": data.duration_ms,
    }


def failed(step: Step, data: ModelFailed) -> dict[str, Any]:
    """The body of a failure's entry."""
    return {
        **spoken("failure", step),
        "error": data.error,
        "message": data.message,
        "retryable": data.retryable,
        "partial": text(data.partial),
    }


def output(data: RunCompleted) -> dict[str, Any]:
    """The body of the entry of what a workflow gave."""
    return {"kind": "output", "text": text(data.output), "duration_ms": data.duration_ms}


def spoken(kind: str, step: Step) -> dict[str, Any]:
    """What the entries of a step have in common."""
    return {
        "kind": kind,
        "participant": step.participant,
        "role": step.role,
        "label": step.label,
        "provider": step.provider,
        "model": step.model,
        "step": step.key,
        "purpose": step.purpose,
        "images_left_out": step.images_left_out,
    }


def message(message: Message) -> dict[str, Any]:
    """The body of a message's entry."""
    attachments = [fragment(blob) for blob in message.attachments]
    return {"kind": "message", "text": text(message.content), "attachments": attachments}


def fragment(value: Value) -> orjson.Fragment:
    """A value as it stands in JSON."""
    return orjson.Fragment(value.__pydantic_serializer__.to_json(value))


def text(text: Any) -> Any:
    """A text, its reference, or None, as it stands in JSON."""
    return fragment(text) if isinstance(text, Value) else text
