"""Runs a workflow from plain JSON to plain JSON, in whatever interpreter its framework needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypedDict

from actors.frameworks.port import BadWorkflow, Doors, Result, WorkflowFault, leaves, said
from actors.frameworks.registry import framework

_AGENT_FRAMEWORK = (
    "agent-framework-core",
    "agent-framework-openai",
    "agent-framework-orchestrations",
)
PACKAGES: dict[str, tuple[str, ...]] = {
    "agent_framework": _AGENT_FRAMEWORK,
    "autogen": _AGENT_FRAMEWORK,
    "crewai": ("crewai",),
    "langchain": ("langchain", "langchain-core", "langchain-openai"),
}
"""What decides how a workflow runs: another version may ask otherwise."""


class Request(TypedDict):
    """A workflow to run."""

    framework: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    models: dict[str, dict[str, Any]]
    doors: dict[str, str]
    """The fields of `Doors`."""


class Fault(TypedDict):
    """Why a workflow did not come to its end; `configuration` where it cannot be as it is."""

    configuration: bool
    message: str


class Reply(TypedDict, total=False):
    """Either of both."""

    result: Result
    fault: Fault
    versions: dict[str, str]
    """Of the framework's packages, where it gave a result."""


async def execute(request: Request) -> Reply:
    """Run the workflow. Whatever goes wrong in it is a fault; only cancellation is raised."""
    try:
        chosen = framework(request["framework"])
        chosen.check(request["config"], request["models"])
        result = await chosen.execute(
            request["config"], request["inputs"], request["models"], Doors(**request["doors"])
        )
    except Exception as error:
        # Frameworks raise whatever they like; an error of theirs crosses as text, or not at all.
        return {"fault": _fault(error)}
    return {"result": result, "versions": dict(_versions(request["framework"]))}


def _versions(name: str) -> Iterator[tuple[str, str]]:
    for package in PACKAGES.get(name, ()):
        with suppress(PackageNotFoundError):
            yield package, version(package)


def _fault(error: BaseException) -> Fault:
    errors = [*leaves(error)]
    chosen = next((each for each in errors if isinstance(each, WorkflowFault)), errors[0])
    if isinstance(chosen, WorkflowFault):
        return {"configuration": isinstance(chosen, BadWorkflow), "message": chosen.message}
    return {"configuration": False, "message": said(chosen)}
