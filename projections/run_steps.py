"""A call of a workflow's run, as the events of its step tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from pydantic import Field

from actors.routing.spending import explained
from events.envelope import Event
from events.runs import RunAsked, RunCalled, RunMatched
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ApprovalRequested,
    ElicitationAnswered,
    ElicitationRequested,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolRefused,
    ToolReturned,
    ToolUse,
)
from events.types import (
    BudgetOverrun,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelDiscarded,
    ModelFailed,
)
from events.values import Blob, Text, Usage, Value
from projections.answers import Load
from projections.money import Money, total

SHOWN = 1000
"""Characters of a text of a step that are shown; all of it is in the events."""

StepStatus = Literal[
    "running",
    "waiting for a person",
    "answered",
    "returned",
    "refused",
    "denied",
    "failed",
    "cancelled",
]


class CallView(Value):
    """A call of a tool that a model asked for; whether it is made is the workflow's affair."""

    name: str
    arguments: str


class QuestionView(Value):
    """What a person is asked; `question` is empty where a call waits for approval."""

    question: str
    message: str


class RunStep(Value):
    """A call of the run, as far as it has come. Long texts are shortened (`…` at their end).

    A call that a later attempt made again is one step.
    """

    step: str
    position: int = Field(description="of its first event")
    kind: Literal["model", "tool"]
    attempts: tuple[int, ...] = Field(description="of the run, that made the call")
    status: StepStatus
    participant: str | None = Field(default=None, description="who was asked")
    provider: str | None = None
    model: str | None = None
    instead_of: str | None = Field(default=None, description="the step that this is a fallback of")
    name: str | None = Field(default=None, description="of the tool, as it was offered")
    server: str | None = None
    arguments: str | None = Field(default=None, description="of the tool's call")
    text: str | None = Field(default=None, description="the answer, or what the tool gave back")
    tool_calls: tuple[CallView, ...] = Field(default=(), description="that the answer asks for")
    message: str | None = Field(default=None, description="why there is no answer or result")
    questions: tuple[QuestionView, ...] = Field(default=(), description="that a person is asked")
    usage: Usage | None = None
    cost: Money | None = Field(default=None, description="US dollars; null where not known")
    duration_ms: float | None = None


@dataclass(slots=True)
class Step:
    """What is known of a step."""

    key: str
    position: int
    load: Load
    attempts: list[int] = field(default_factory=list)
    status: StepStatus = "running"
    asked: ModelAsked | None = None
    use: ToolUse | None = None
    participant: str | None = None
    server: str | None = None
    text: str | None = None
    calls: tuple[CallView, ...] = ()
    message: str | None = None
    approval: bool = False
    questions: dict[str, str] = field(default_factory=dict)
    used: list[Usage] = field(default_factory=list)
    costs: list[Decimal] = field(default_factory=list)
    unpriced: int = 0
    duration_ms: float | None = None

    def view(self) -> RunStep:
        """The step as it is shown."""
        questions = [QuestionView(question=id, message=m) for id, m in self.questions.items()]
        if self.approval:
            what = "may this call be made?"
            questions.insert(0, QuestionView(question="", message=what))
        waits = self.status == "running" and bool(questions)
        use, asked = self.use, self.asked
        return RunStep(
            step=self.key,
            position=self.position,
            kind="tool" if self.key.startswith("call:") else "model",
            attempts=tuple(self.attempts),
            status="waiting for a person" if waits else self.status,
            participant=self.participant,
            provider=asked.provider if asked else None,
            model=asked.model if asked else None,
            instead_of=asked.instead_of if asked else None,
            name=use.name if use else None,
            server=self.server,
            arguments=self.shown(use.arguments) if use else None,
            text=self.text,
            tool_calls=self.calls,
            message=self.message,
            questions=tuple(questions) if waits else (),
            usage=sum(self.used, Usage()) if self.used else None,
            cost=total(self.costs) if self.costs else None,
            duration_ms=self.duration_ms,
        )

    def shown(self, text: Text) -> str:
        """The text, or the beginning of it."""
        whole = read(text, self.load)
        return whole if len(whole) <= SHOWN else f"{whole[:SHOWN]}…"

    def ended(self, status: StepStatus, message: str | None = None) -> None:
        """It is over."""
        self.status, self.message = status, message

    def paid(self, data: ModelAnswered | ModelFailed | ModelDiscarded) -> None:
        """What an outcome has used counts, whether the outcome does or not."""
        if data.usage is not None:
            self.used.append(data.usage)
        if data.cost is not None:
            self.costs.append(data.cost.amount)
        else:
            self.unpriced += data.usage is not None


def apply(step: Step, event: Event) -> None:
    """Fold one event of the step."""
    data = event.data
    match data:
        case RunAsked(attempt=attempt, participant=participant):
            step.participant = participant
            step.attempts.append(attempt)
        case ModelAsked():
            step.asked, step.participant = data, data.participant
        case ModelAnswered():
            step.text = step.shown(data.text)
            step.calls = tuple(_calls(step, data))
            step.duration_ms = data.duration_ms
            step.ended("answered")
        case ModelFailed():
            step.duration_ms = data.duration_ms
            step.ended("failed", data.message)
        case BudgetOverrun():
            step.ended("failed", explained(data))
        case ModelCancelled() | ToolCancelled():
            step.ended("cancelled")
        case RunCalled(attempt=attempt) | RunMatched(attempt=attempt):
            step.attempts.append(attempt)
        case _:
            _apply_tool(step, event)
    if isinstance(data, ModelAnswered | ModelFailed | ModelDiscarded):
        step.paid(data)


def _apply_tool(step: Step, event: Event) -> None:
    match event.data:
        case ToolCalled(use=use, server=server):
            step.use, step.server = use, server
        case ApprovalRequested(use=use, server=server):
            step.use, step.server, step.approval = use, server, True
        case ApprovalGranted():
            step.approval = False
        case ApprovalDenied(reason=reason):
            step.ended("denied", reason or None)
        case ElicitationRequested(id=id, message=message):
            step.questions[id] = message
        case ElicitationAnswered(id=id):
            step.questions.pop(id, None)
        case ToolReturned() as data:
            step.duration_ms = data.duration_ms
            text = data.structured if not data.text and data.structured else data.text
            step.text = step.shown(text)
            step.ended("failed" if data.is_error else "returned")
        case ToolFailed() as data:
            step.duration_ms = data.duration_ms
            step.ended("failed", data.message)
        case ToolRefused(use=use, reason=reason):
            step.use = use
            step.ended("refused", reason)
        case _:
            pass


def _calls(step: Step, answer: ModelAnswered) -> Iterable[CallView]:
    for call in answer.tool_calls:
        yield CallView(name=call.name, arguments=step.shown(call.arguments))


def read(text: Text, load: Load) -> str:
    """The whole text."""
    return load(text) if isinstance(text, Blob) else text
