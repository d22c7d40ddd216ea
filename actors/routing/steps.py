"""What a router emits, and the outcomes that it gets back.

What passes between engine and machine are named tuples, which are made several times as fast as
frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from events.types import Decision
from events.values import Blob, Parameters, ToolCall


class AskStep(NamedTuple):
    """Ask a participant.

    `see` says up to where the conversation is shown: as it stood when the turn `start`ed (with the
    message), or as it stands `now`. `history` overrides the participant's mode. `upto` is set where
    the step repeats an earlier one: it is shown what that one was, in its `window` and less what it
    had to `skip`. `fallback` n is
    the participant's n-th fallback, asked `instead_of` the step that failed. With `tools`, it is
    offered those that it may use; where it `continues` a step, the calls of tools in that step's
    answer have their outcomes. `tool_choice` "none" wants an answer without further calls,
    "required" one that calls a tool of whoever posted the message.
    What is `given` is shown in place of the conversation. A workflow's run that asks brings what it
    `offered` to the model and `parameters` of its own, which come before the participant's.
    """

    key: str
    participant: str
    instruction: str | None = None
    purpose: str = "answer"
    public: bool = True
    see: Literal["start", "now"] = "start"
    history: Literal["shared", "isolated", "none"] | None = None
    exclude: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    upto: int | None = None
    window: int | None = None
    skip: int = 0
    fallback: int = 0
    instead_of: str | None = None
    tools: bool = True
    tool_choice: Literal["none", "required"] | None = None
    continues: str | None = None
    given: Blob | None = None
    offered: Blob | None = None
    parameters: Parameters | None = None

    def with_key(self, key: str) -> AskStep:
        """The same step under its own key."""
        return self._replace(key=key)


class CallStep(NamedTuple):
    """Call a tool, by the name that it is offered under; `arguments` is JSON text.

    `participant` wants it, in its answer of the step `asked_in`, under its own `call_id`; a router
    that calls by itself is nobody. Where it is `refused`, it is not made, and that says why. Only
    what its `owner` is offered is called, where that is not whoever wants it.
    """

    key: str
    name: str
    arguments: str
    participant: str | None = None
    asked_in: str | None = None
    call_id: str = ""
    refused: str | None = None
    owner: str | None = None

    def with_key(self, key: str) -> CallStep:
        """The same step under its own key."""
        return self._replace(key=key)


class RunStep(NamedTuple):
    """Run the session's workflow, of that framework."""

    key: str
    framework: str


class TimerStep(NamedTuple):
    """Wake the router after so many seconds."""

    key: str
    seconds: float


class DrawStep(NamedTuple):
    """A number by chance, recorded so that replay draws it again."""

    key: str


Step = AskStep | CallStep | RunStep | TimerStep | DrawStep


@dataclass(frozen=True, slots=True)
class Answer:
    """What a participant answered. `step` is the key of the step that asked."""

    participant: str
    step: str
    text: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back. With `is_error` the tool itself says that it could not.

    `step` is the key of the step that called, `structured` the JSON text of structured content.
    """

    name: str
    step: str
    text: str
    is_error: bool = False
    structured: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed. Steps never raise: a router looks at what it got."""

    participant: str
    step: str
    error: str
    message: str
    retryable: bool = False

    @classmethod
    def cancelled(cls, key: str) -> Failure:
        """The value of a step that was cancelled."""
        return cls(key.split(":")[1], key, "Cancelled", "the step was cancelled")


class Emitted(NamedTuple):
    """The router wants a step done."""

    step: Step


class Cancelled(NamedTuple):
    """A step is not wanted any more."""

    key: str
    reason: Literal["race_lost", "turn_ended"]


class Decided(NamedTuple):
    """The router recorded a decision."""

    decision: Decision


class Ended(NamedTuple):
    """The router returned `value`, or could not go on because of `fault`."""

    value: Any
    fault: BaseException | None = None


Emission = Emitted | Cancelled | Decided | Ended


class StepLimit(BaseException):
    """Raised into a router that wants too many steps; not an `Exception`, so none swallows it."""
