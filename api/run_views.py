"""What the API says of runs of workflows, and of frameworks, besides `projections.runs`."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from actors.frameworks.environments import State, state_of
from actors.frameworks.port import BadWorkflow
from actors.frameworks.registry import framework, known_frameworks
from api.doors import Doors
from api.problems import ProblemError
from projections.money import Money
from projections.runs import RunStatus, RunView, run_view
from projections.sessions import SessionSummary

RUN_EXAMPLE: dict[str, Any] = {
    "mode": "framework",
    "framework": {
        "type": "langchain",
        "config": {
            "chain_type": "sequential",
            "steps": [
                {
                    "model_id": "planner",
                    "prompt_template": "Make an outline about {topic}.",
                    "output_key": "outline",
                },
                {"model_id": "writer", "prompt_template": "Write it out: {outline}"},
            ],
        },
    },
    "models": [
        {"id": "planner", "provider": "rehearsal", "model_name": "steady"},
        {"id": "writer", "provider": "rehearsal", "model_name": "steady"},
    ],
    "inputs": {"topic": "owls"},
}


class RunAccepted(BaseModel):
    """A run that is committed, and not waited for (any longer)."""

    run_id: str
    session_id: str = Field(description="the same: a run is a session")
    turn: str
    status: RunStatus
    position: int = Field(description="of the event that this request caused")


class RunSummary(BaseModel):
    """A run in short: the last one, where several inputs were posted to it."""

    run_id: str
    framework: str
    title: str | None
    status: RunStatus
    runs: int = Field(description="how often it was started, with what inputs ever")
    inputs: str | None = Field(description="the beginning of what was posted last")
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    cost: Money = Field(description="US dollars, of the calls that have a price")
    unpriced: int = Field(description="calls with tokens, but without a price")


class RunPage(BaseModel):
    """Some runs, newest first. `position` is the sequence of the store that is counted in."""

    runs: tuple[RunSummary, ...]
    next: str | None = Field(description="the cursor of those that follow; null at the end")
    position: int


class FrameworkView(BaseModel):
    """A framework whose workflows the room runs."""

    name: str
    config_schema: dict[str, Any] = Field(description="JSON schema of its configuration")
    environment: str | None = Field(description="that it runs in; null: the room's own")
    state: State = Field(description="of the environment, on the machine of the API")
    detail: str | None = Field(default=None, description="why it cannot be used")


class FrameworksView(BaseModel):
    """All frameworks, by name."""

    frameworks: tuple[FrameworkView, ...]


async def view_of_run(doors: Doors, run: str, turn: str | None = None) -> RunView:
    """The run as of now: its last turn, or the one that is named.

    Raises a 404 `ProblemError` where there is no such run.
    """
    chosen = await turn_of_run(doors, run, turn)
    state = await doors.states.get(run)
    config = state.turns[chosen].config or state.config
    assert config
    assert config.workflow
    framework, title, paused = config.workflow.framework, config.title, state.status == "paused"
    events = await doors.states.turn_events(run, chosen)
    return await asyncio.to_thread(
        run_view,
        run,
        framework,
        events,
        chosen,
        doors.room.load,
        title=title,
        paused=paused,
        turns=tuple(state.turns),
    )


async def turn_of_run(doors: Doors, run: str, turn: str | None) -> str:
    """The turn that is named, or else the open one, or else the last.

    Raises a 404 `ProblemError` where that is no run of a workflow.
    """
    state = await doors.states.get(run)
    chosen = turn or (state.open.id if state.open else next(reversed(state.turns), ""))
    known = state.turns.get(chosen)
    config = (known and known.config) or state.config
    if known is None or config is None or config.workflow is None:
        what = f"{run!r}" if turn is None else f"{run!r} with turn {turn!r}"
        raise ProblemError(
            "not-found", f"there is no run {what}: GET /v1/runs lists those there are"
        )
    return chosen


async def summary_of(doors: Doors, found: SessionSummary) -> RunSummary:
    """The run that a session of the list is."""
    return RunSummary(
        run_id=found.id,
        framework=found.framework or "",
        title=found.title,
        status=await _status(doors, found),
        runs=found.turns,
        inputs=found.preview,
        tags=found.tags,
        created_at=found.created_at,
        updated_at=found.updated_at,
        cost=found.cost,
        unpriced=found.unpriced,
    )


async def _status(doors: Doors, found: SessionSummary) -> RunStatus:
    if found.open_turn is None:
        return found.ended or "queued"
    if found.status == "paused":
        return "paused"
    turn = (await doors.states.get(found.id)).turns.get(found.open_turn)
    return "waiting for a person" if turn is not None and turn.asks_person else "running"


def frameworks_of(home: Path) -> FrameworksView:
    """All frameworks; reads files and may import."""
    return FrameworksView(frameworks=tuple(_framework(name, home) for name in known_frameworks()))


def _framework(name: str, home: Path) -> FrameworkView:
    try:
        chosen = framework(name)
    except BadWorkflow as error:
        return FrameworkView(
            name=name,
            config_schema={},
            environment=None,
            state="not installed",
            detail=error.message,
        )
    environment = chosen.environment
    state: State = "installed" if environment is None else state_of(environment, home)
    install = f"run `control-room frameworks install {environment}`"
    return FrameworkView(
        name=name,
        config_schema=chosen.config_schema(),
        environment=environment,
        state=state,
        detail=None if state == "installed" else install,
    )
