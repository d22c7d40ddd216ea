"""The port to a framework of workflows; every one passes one contract suite."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

Models = Mapping[str, Mapping[str, Any]]
"""The models of a run by their ids; an id is the model's name at the OpenAI-compatible door."""


class WorkflowFault(Exception):
    """A workflow did not come to its end; the message says why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadWorkflow(WorkflowFault):
    """The configuration or the inputs cannot be; the message says what to change."""


class WorkflowFailed(WorkflowFault):
    """It was started, and failed."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves: what is raised beside an open connection comes out in a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def said(error: BaseException) -> str:
    """An error of somebody else's in one line."""
    text, name = " ".join(str(error).split()), type(error).__name__
    return f"{name}: {text}" if text else name


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a workflow reaches models and tools, and the token that is bound to its run."""

    base_url: str
    """The OpenAI-compatible API, `http://HOST:PORT/openai/v1`."""
    mcp_url: str
    """The MCP endpoint (streamable HTTP); its tools are named `server__tool`."""
    token: str = field(repr=False)
    invoke_url: str = ""
    """What stands before `/models/{id}/invoke`, for frameworks that call models by webhooks."""


class Step(TypedDict):
    """A part of a workflow that came to its end."""

    name: str
    by: str
    """The agent or the model whose output it is; empty where there is none."""
    output: str


class Result(TypedDict):
    """What a workflow gives, as plain JSON.

    `output` is its last word, `outputs` are its results by name, `steps` what led there, in order.
    """

    output: str
    outputs: dict[str, Any]
    steps: list[Step]


class Framework(Protocol):
    """A framework of workflows.

    Configuration, inputs and results are plain JSON. Equal configurations, inputs and answers make
    equal requests at the doors, in an order that depends on nothing else: this is what lets a run
    be replayed.
    """

    name: str
    environment: str | None
    """The environment (see `environments`) in which it runs; None: the room's own."""
    apart: bool = True
    """Whether each run has a process of its own, which is killed to cancel it.

    A framework whose work is done elsewhere needs none: its `execute` is cancelled, and tells those
    who do the work to stop. One that does not say has one.
    """

    def config_schema(self) -> dict[str, Any]:
        """The JSON schema of its configuration."""
        ...

    def check(self, config: Mapping[str, Any], models: Collection[str]) -> None:
        """Raise `BadWorkflow` where the configuration cannot run on models of these ids.

        Imports nothing of the framework: it is called in the room's own interpreter.
        """
        ...

    async def execute(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any], models: Models, doors: Doors
    ) -> Result:
        """Run it to its end. Raises a `WorkflowFault`; a cancelled run starts nothing more."""
        ...
