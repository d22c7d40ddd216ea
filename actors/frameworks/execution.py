"""Runs a workflow from plain JSON to plain JSON, in whatever interpreter its framework needs."""

from __future__ import annotations

from typing import Any, TypedDict

from actors.frameworks.port import BadWorkflow, Doors, Result, WorkflowFault, leaves, said
from actors.frameworks.registry import framework


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
    return {"result": result}


def _fault(error: BaseException) -> Fault:
    errors = [*leaves(error)]
    chosen = next((each for each in errors if isinstance(each, WorkflowFault)), errors[0])
    if isinstance(chosen, WorkflowFault):
        return {"configuration": isinstance(chosen, BadWorkflow), "message": chosen.message}
    return {"configuration": False, "message": said(chosen)}
