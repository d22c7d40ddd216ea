"""What a run does whose door of tools is lost: it ends.

CrewAI and Agent Framework tell the model of a tool that raises, and go on. But the call may have
been carried out, and the room knows of no result that a model could be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from actors.frameworks.port import WorkflowFailed
from actors.frameworks.tools import Tool

T = TypeVar("T")


class LostDoor:
    """Ends a workflow with the first tool of it that could not be called."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = loop.create_future()
        self._never: asyncio.Future[str] = loop.create_future()

    def watched(self, tool: Tool) -> Tool:
        """The same tool; a call that raises `WorkflowFailed` returns to its framework no more."""

        async def call(arguments: Mapping[str, Any]) -> str:
            try:
                return await tool.call(arguments)
            except WorkflowFailed as error:
                if not self._lost.done():
                    self._lost.set_exception(error)
            return await asyncio.shield(self._never)

        return replace(tool, call=call)

    async def ended(self, work: Awaitable[T]) -> T:
        """What the work gives.

        Where a tool could not be called, the work is cancelled, and the `WorkflowFailed` raised.
        """
        working = asyncio.ensure_future(work)
        both: set[asyncio.Future[Any]] = {working, self._lost}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.done():
                self._lost.result()
            return await working
        finally:
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
