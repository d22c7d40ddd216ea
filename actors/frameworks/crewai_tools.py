"""The MCP door, by the older client library that CrewAI's environment has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from actors.frameworks.port import Doors, leaves
from actors.frameworks.tools import Tool, gone, result_text, uncalled, unreachable

_PATIENCE = httpx.Timeout(None, connect=30.0)
"""Seconds. The door itself bounds a call, and a person may have to grant it."""
_PING_EVERY, _PING_WITHIN = 5.0, 30.0
"""Seconds. This client waits for ever for the answer of a server that has died meanwhile."""


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
                httpx.AsyncClient(headers=headers, timeout=_PATIENCE, trust_env=False)
            )
            read, write, _ = await open.enter_async_context(
                streamable_http_client(doors.mcp_url, http_client=http)
            )
            session = await open.enter_async_context(ClientSession(read, write))
            tools = await _listed(session)
            listed = True
            yield tools
    except Exception as error:  # the client raises groups of whatever it met
        if not listed:
            raise unreachable(doors.mcp_url, error) from error
        if all(isinstance(each, httpx.HTTPError) for each in leaves(error)):
            raise gone(doors.mcp_url, error) from error
        raise


async def _listed(session: ClientSession) -> tuple[Tool, ...]:
    await session.initialize()
    listed: list[Any] = []
    cursor: str | None = None
    while True:
        page = await session.list_tools(cursor)
        listed += page.tools
        cursor = page.nextCursor
        if not cursor:
            break
    return tuple(
        Tool(tool.name, tool.description or "", tool.inputSchema, _calling(session, tool.name))
        for tool in sorted(listed, key=lambda tool: str(tool.name))
    )


def _calling(session: ClientSession, name: str) -> Callable[[Mapping[str, Any]], Awaitable[str]]:
    async def call(arguments: Mapping[str, Any]) -> str:
        calling = asyncio.ensure_future(session.call_tool(name, dict(arguments)))
        try:
            while not (await asyncio.wait({calling}, timeout=_PING_EVERY))[0]:
                async with asyncio.timeout(_PING_WITHIN):
                    await session.send_ping()
            result = calling.result()
        except Exception as error:  # of the protocol, or of the connection
            raise uncalled(name, error) from error
        finally:
            calling.cancel()
        return result_text(result.model_dump(mode="json", by_alias=True))

    return call
