"""The MCP door, by the client library of the room's own environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from actors.frameworks.port import Doors, leaves
from actors.frameworks.tools import Tool, gone, result_text, uncalled, unreachable

_PATIENCE = httpx2.Timeout(None, connect=30.0)
"""Seconds. The door itself bounds a call, and a person may have to grant it."""


@asynccontextmanager
async def door_tools(doors: Doors) -> AsyncIterator[tuple[Tool, ...]]:
    """The tools at the door, by name, for as long as it is open.

    Raises `WorkflowFailed` where the door cannot be reached, or refuses. Where it is lost later,
    whoever is inside is cancelled, and that is raised as well.
    """
    headers = {"Authorization": f"Bearer {doors.token}"}
    listed = False
    try:
        async with AsyncExitStack() as open:
            http = await open.enter_async_context(
                httpx2.AsyncClient(headers=headers, timeout=_PATIENCE, trust_env=False)
            )
            transport = streamable_http_client(doors.mcp_url, http_client=http)
            client = await open.enter_async_context(Client(transport))
            tools = await _listed(client)
            listed = True
            yield tools
    except Exception as error:  # the client raises groups of whatever it met
        if not listed:
            raise unreachable(doors.mcp_url, error) from error
        if all(isinstance(each, httpx2.HTTPError) for each in leaves(error)):
            raise gone(doors.mcp_url, error) from error
        raise


async def _listed(client: Client) -> tuple[Tool, ...]:
    listed: list[Any] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        listed += page.tools
        cursor = page.next_cursor
        if not cursor:
            break
    return tuple(
        Tool(tool.name, tool.description or "", tool.input_schema, _calling(client, tool.name))
        for tool in sorted(listed, key=lambda tool: str(tool.name))
    )


def _calling(client: Client, name: str) -> Callable[[Mapping[str, Any]], Awaitable[str]]:
    async def call(arguments: Mapping[str, Any]) -> str:
        try:
            result = await client.call_tool(name, dict(arguments))
        except Exception as error:  # of the protocol, or of the connection
            raise uncalled(name, error) from error
        return result_text(result.model_dump(mode="json", by_alias=True))

    return call
