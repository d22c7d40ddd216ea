"""The tools of a workflow's run: what its session grants it, each call a step of its turn."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types import (
    INTERNAL_ERROR,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from actors.run_tokens import RunToken
from api import __version__
from api.doors import Doors
from api.problems import ProblemError
from api.run_tools import Given, RunTools
from events.values import Attachment

Context = ServerRequestContext[Any]
Content = TextContent | ImageContent | EmbeddedResource


def run_server(doors: Doors) -> Server[Any]:
    """The server whose tools are those of the run whose token came."""

    async def listed(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        tools = await RunTools(doors, _run(context)).listed()
        return ListToolsResult(
            tools=[
                Tool(
                    name=tool["name"],
                    description=tool["description"],
                    input_schema=tool["parameters"],
                )
                for tool in tools
            ]
        )

    async def called(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tools = RunTools(doors, _run(context))
        try:
            given = await tools.call(params.name, params.arguments or {})
        except ProblemError as problem:  # of the run, not of the tool
            raise MCPError(INTERNAL_ERROR, problem.detail) from None
        return CallToolResult(
            content=await _content(doors, given),
            structured_content=given.structured,
            is_error=given.is_error,
        )

    return Server(
        "control-room-run",
        title="Tools of a run",
        version=__version__,
        on_list_tools=listed,
        on_call_tool=called,
    )


def _run(context: Context) -> RunToken:
    assert context.request is not None
    run: RunToken = context.request.scope["state"]["run"]
    return run


async def _content(doors: Doors, given: Given) -> list[Any]:
    content: list[Content] = []
    if given.text or not given.attachments:
        content.append(TextContent(type="text", text=given.text))
    for one in given.attachments:
        content.append(await _attached(doors, one))  # noqa: PERF401  # one after the other
    return content


async def _attached(doors: Doors, one: Attachment) -> Content:
    data = base64.b64encode(await asyncio.to_thread(doors.room.blobs.get, one)).decode()
    if one.is_image:
        return ImageContent(type="image", data=data, mime_type=one.media_type)
    resource = BlobResourceContents(uri=f"blob:{one.sha256}", mime_type=one.media_type, blob=data)
    return EmbeddedResource(type="resource", resource=resource)
