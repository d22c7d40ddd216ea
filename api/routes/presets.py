"""Presets: rooms and toolchains that are saved under a name."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from fastapi.openapi.models import Example
from pydantic import Field

from actors.presets import DeletePreset, SavePreset
from api.doors import Inside
from api.openapi import problems
from api.problems import ProblemError
from api.projected import all_caught_up
from api.run_envelope import check_toolchain
from api.saved import preset_of
from api.strict_json import StrictJSONRoute
from api.views import IdempotencyKey, command_id
from events.presets import PresetKind
from events.values import Id, Value
from projections.presets import PresetPage, PresetView

router = APIRouter(prefix="/v1/presets", tags=["presets"], route_class=StrictJSONRoute)

PresetName = Annotated[
    Id, Path(description="the preset's name", openapi_examples={"a": {"value": "reviewers"}})
]
_ROOM = {
    "models": [
        {"id": "architect", "provider": "rehearsal", "model_name": "steady", "role": "architect"},
        {"id": "critic", "provider": "rehearsal", "model_name": "terse", "role": "critic"},
    ]
}
_EXAMPLES: dict[str, Example] = {"a room": {"value": {"kind": "room", "config": _ROOM}}}


class NewPreset(Value):
    """What a name is to stand for."""

    kind: PresetKind = Field(description="room: of sessions; toolchain: of runs of a workflow")
    config: dict[str, Any] = Field(
        description="of a room a session's JSON, of a toolchain a run's; up to 64 kB. An id of its"
        " own (session_id, run_id) is left out"
    )


class PresetDone(Value):
    """What a command has done to a preset, durably."""

    name: str
    position: int = Field(description="of the event that holds it")


@router.get("", operation_id="list_presets", responses=problems())
async def list_presets(
    doors: Inside,
    kind: Annotated[PresetKind | None, Query(description="only those of this kind")] = None,
) -> PresetPage:
    """All presets, by name."""
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.presets, kind)


@router.get("/{name}", operation_id="get_preset", responses=problems(404))
async def get_preset(doors: Inside, name: PresetName) -> PresetView:
    """What the name stands for now."""
    return await _view(doors, name)


@router.put("/{name}", operation_id="save_preset", responses=problems(400, 413, 415, 503))
async def save_preset(
    doors: Inside,
    name: PresetName,
    body: Annotated[NewPreset, Body(openapi_examples=_EXAMPLES)],
    key: IdempotencyKey = None,
) -> PresetView:
    """Let the name stand for this configuration from now on.

    A room is checked as a session's configuration is, a toolchain as a run is; whether models and
    tools can be had is checked when a session or a run is made of it.
    """
    if body.kind == "toolchain":
        await check_toolchain(body.config)
    await doors.commands.keep(
        SavePreset(
            name=name,
            by=doors.principal,
            id=command_id(key),
            preset=body.kind,
            config=body.config,
        )
    )
    return await _view(doors, name)


@router.delete("/{name}", operation_id="delete_preset", responses=problems(404, 503))
async def delete_preset(doors: Inside, name: PresetName, key: IdempotencyKey = None) -> PresetDone:
    """Let the name stand for nothing any more; what was made of it goes on."""
    command = DeletePreset(name=name, by=doors.principal, id=command_id(key))
    return PresetDone(name=name, position=await doors.commands.keep(command))


async def _view(doors: Inside, name: str) -> PresetView:
    preset = await preset_of(doors, name)
    if preset is None:
        raise ProblemError(
            "not-found", f"there is no preset {name!r}: GET /v1/presets lists those there are"
        )
    return preset
