"""Participants with tools, in sessions that are driven by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from events.canonical import canonical_json
from events.store import BlobStore
from events.tools import ToolFailed, ToolReturned
from events.types import ModelAnswered
from events.values import Blob, ToolCall
from tests.sessions import Blobs, Driven, answered, config

ADD, FIND, RISK = "calc__add", "files__find", "files__delete"


def tool(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A tool as models are offered it."""
    schema = dict(parameters or {"type": "object"})
    return {"name": name, "description": f"does {name}", "parameters": schema}


def offered(
    blobs: Blobs | BlobStore,
    names: Iterable[str] = (ADD, FIND, RISK),
    approve: Iterable[str] = (RISK,),
    schemas: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What the facts say of the tools of a participant; those in `approve` want approval."""
    listed = canonical_json([tool(name, (schemas or {}).get(name)) for name in sorted(names)])
    calls = {
        name: {
            "server": name.split("__")[0],
            "tool": name.split("__")[1],
            "approval": name in approve,
        }
        for name in names
    }
    blob = blobs.put(listed, "application/json")
    return {"offered": blob.model_dump(mode="json"), "calls": calls}


def facts(blobs: Blobs | BlobStore, participants: Iterable[str]) -> dict[str, Any]:
    """Facts of a turn in which those participants have all tools."""
    return {name: {"tools": offered(blobs)} for name in participants}


def wants(*names: str, text: str = "", ids: Mapping[int, str] | None = None) -> ModelAnswered:
    """An answer that calls the tools of those names."""
    calls = tuple(
        ToolCall(id=(ids or {}).get(n, f"c{n}"), name=name, arguments=f'{{"n": {n}}}')
        for n, name in enumerate(names, 1)
    )
    return answered(text, tool_calls=calls, finish_reason="tool_calls")


def returned(text: str | Blob = "42", **rest: Any) -> ToolReturned:
    """What a tool gave back."""
    fields: dict[str, Any] = {"attempt": 1, "duration_ms": 1.5}
    return ToolReturned.model_validate(fields | {"text": text} | rest)


def broken(message: str = "its server is down") -> ToolFailed:
    """A call that failed."""
    return ToolFailed(attempt=1, error="ToolError", message=message, retryable=False)


class Tooled(Driven):
    """A session whose participants have tools."""

    def __init__(self, names: str = "a", with_tools: str = "abc", **changes: Any) -> None:
        blobs = Blobs()
        known = facts(blobs, with_tools)
        super().__init__(facts=known, blobs=blobs, session=config(names, **changes))

    def wants(self, step: str, *names: str, **rest: Any) -> str:
        return self.give(wants(*names, **rest), by="model", turn=self.turn, step=step)

    def returns(self, step: str, text: str = "42", **rest: Any) -> str:
        return self.give(returned(text, **rest), by="tool", turn=self.turn, step=step)
