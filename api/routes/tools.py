"""Which tool servers are configured, how they are, and which tools they have."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from actors.tools.config import ToolServerSpec, missing
from actors.tools.listing import LISTED, ListedTool, Listing
from actors.tools.names import offered_names
from actors.tools.reports import collect
from api.doors import Doors, Inside
from api.openapi import problems

router = APIRouter(prefix="/v1", tags=["room"])


class ToolView(BaseModel):
    """One tool: `name` is what models are offered, `tool` what its server calls it."""

    name: str
    tool: str
    title: str | None
    description: str
    parameters: dict[str, Any]
    annotations: dict[str, Any] | None = Field(description="hints of its server, to be trusted so")


class ToolServerView(BaseModel):
    """One configured server. `down` is one whose actor runs and cannot reach it: see `problem`."""

    server: str
    type: Literal["stdio", "http"]
    state: Literal["up", "down", "not started"]
    missing: tuple[str, ...] = Field(description="what its configuration needs and does not have")
    problem: str
    protocol: str | None
    implementation: str | None
    calls: int = Field(description="under way now")
    tools: tuple[ToolView, ...]
    left_out: tuple[str, ...] = Field(description="tools that are not offered, and why")


class ToolsView(BaseModel):
    """All configured tool servers."""

    servers: tuple[ToolServerView, ...]


@router.get("/tools", operation_id="list_tools", responses=problems())
async def list_tools(
    doors: Inside,
    start: Annotated[
        float, Query(ge=0, le=60, description="seconds in which servers are started to tell")
    ] = 0,
) -> ToolsView:
    """The configured tool servers: their state, version of MCP, and tools with schemas.

    A server starts when a session first wants its tools; before, its tools are not known, unless
    `start` has it started for this.
    """
    servers = doors.room.tool_servers
    said = await collect(doors.room.bus, servers, start_within=start)
    return ToolsView(
        servers=tuple([await _view(doors, spec, said.get(name)) for name, spec in servers.items()])
    )


async def _view(doors: Doors, spec: ToolServerSpec, said: Listing | None) -> ToolServerView:
    listed: tuple[ListedTool, ...] = ()
    if said is not None and said.tools is not None:
        listed = LISTED.validate_json(await asyncio.to_thread(doors.room.blobs.get, said.tools))
    by_name = {tool.name: tool for tool in listed}
    names = offered_names((spec.name, tool.name) for tool in listed)
    state: Literal["up", "down", "not started"] = "not started"
    if said is not None:
        state = "up" if said.up else "down"
    return ToolServerView(
        server=spec.name,
        type=spec.kind,
        state=state,
        missing=missing(spec, doors.room.settings.environment),
        problem=said.problem if said else "",
        protocol=said.protocol if said else None,
        implementation=said.implementation if said else None,
        calls=said.calls if said else 0,
        tools=tuple(
            ToolView(
                name=name,
                tool=tool,
                title=by_name[tool].title,
                description=by_name[tool].description,
                parameters=by_name[tool].parameters,
                annotations=by_name[tool].annotations,
            )
            for name, (_, tool) in names.items()
        ),
        left_out=said.left_out if said else (),
    )
