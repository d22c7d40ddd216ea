"""One connection to a tool server, as long as it lasts: negotiated, listed, and followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import IncomingMessage
from mcp.client.session import ElicitationFnT
from mcp.client.subscriptions import SubscriptionLost
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from actors.tools.bounds import Bound, Tools
from actors.tools.config import ToolServerSpec
from actors.tools.http import http_streams
from actors.tools.stdio import Program
from events.errors import ToolUnavailable

_log = logging.getLogger(__name__)

START_WITHIN: Final = 60.0  # seconds until it has answered and listed: a first `npx` downloads
IDLE: Final = 20.0  # seconds without a word after which it is tried before a call
ALIVE_WITHIN: Final = 5.0  # seconds for the answer to that
RELIST_PAUSE: Final = 3.0  # seconds between two lists that are asked for
RELISTEN_PAUSE: Final = 5.0  # seconds until changes are listened for again
MOST_PAGES: Final = 100


class Link:
    """A connection that stands. `broken` is set when it does not any more."""

    def __init__(
        self,
        client: Client,
        name: str,
        hidden: Callable[[str], str],
        changed: Callable[[Link], Awaitable[None]],
    ) -> None:
        self.client = client
        # What is structured is checked where that holds up nobody.
        client.session.validate_tool_result = _unchecked  # type: ignore[method-assign]
        self.broken = asyncio.Event()
        self.tools: Tools = ()
        self.left_out: tuple[str, ...] = ()
        """Tools that it lists and that are not taken, with why."""
        self.protocol = client.protocol_version
        info = client.server_info
        named = hidden(f"{info.name} {info.version}".strip()) if info else None
        self.implementation = named[:200] if named is not None else None
        self.heard = 0.0
        self._name = name
        self._hidden = hidden
        self._changed = changed
        self._stale = asyncio.Event()
        self._trying = asyncio.Lock()

    @property
    def modern(self) -> bool:
        """Whether it speaks a version without sessions."""
        return self.protocol in MODERN_PROTOCOL_VERSIONS

    def listen(self) -> None:
        """The server says that its list has changed."""
        self._stale.set()

    async def list(self) -> None:
        """Ask for the whole list of its tools, as far as it is bounded."""
        bound = Bound()
        if self.client.server_capabilities.tools is not None:
            cursor: str | None = None
            for _ in range(MOST_PAGES):
                page = await self.client.list_tools(cursor=cursor)
                bound.take(page.tools)
                cursor = page.next_cursor
                if cursor is None or bound.full:
                    break
            else:
                bound.leave_out(f"what stands on more than {MOST_PAGES} pages")
        left_out = tuple(self._hidden(what) for what in bound.left_out)
        if left_out and left_out != self.left_out:
            _log.warning("tools of %s are left out: %s", self._name, "; ".join(left_out))
        self.tools, self.left_out = bound.tools, left_out
        self.heard = asyncio.get_running_loop().time()

    async def follow(self) -> None:
        """Have every change of the list told, until cancelled, or else it is broken."""
        try:
            await self._follow()
        except Exception:
            _log.exception(
                "changes of %s can be followed no more: it is connected again", self._name
            )
            self.broken.set()

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            tools = self.client.server_capabilities.tools
            if self.modern and tools is not None and tools.list_changed:
                group.create_task(self._subscribe())
            while True:
                await self._stale.wait()
                self._stale.clear()
                try:
                    await self.list()
                except (MCPError, httpx2.HTTPError, OSError, ValueError) as error:
                    _log.warning(
                        "%s does not list its tools again: %s", self._name, self._hidden(str(error))
                    )
                else:
                    await self._changed(self)
                await asyncio.sleep(RELIST_PAUSE)

    async def _subscribe(self) -> None:
        while True:
            try:
                async with self.client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._stale.set()
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:
                    return
            except (SubscriptionLost, httpx2.HTTPError, OSError, TimeoutError) as error:
                _log.debug(
                    "%s: changes are listened for again: %s", self._name, self._hidden(str(error))
                )
            await asyncio.sleep(RELISTEN_PAUSE)
            self._stale.set()  # what has changed meanwhile

    async def alive(self) -> bool:
        """Whether the server still answers, where nothing was heard of it for a while."""
        async with self._trying:
            loop = asyncio.get_running_loop()
            if self.broken.is_set():
                return False
            if loop.time() - self.heard < IDLE:
                return True
            try:
                async with asyncio.timeout(ALIVE_WITHIN):
                    if self.modern:
                        await self.client.session.send_discover(self.protocol)
                    else:
                        await self.client.session.send_ping()
            except (MCPError, httpx2.HTTPError, OSError, TimeoutError) as error:
                if not isinstance(error, MCPError) or error.code != types.METHOD_NOT_FOUND:
                    _log.info("%s answers no more, and is connected again", self._name)
                    self.broken.set()
                    return False
            self.heard = loop.time()
            return True


@asynccontextmanager
async def linked(
    spec: ToolServerSpec,
    hidden: Callable[[str], str],
    elicited: ElicitationFnT,
    changed: Callable[[Link], Awaitable[None]],
) -> AsyncIterator[Link]:
    """A connection to the server, listed already; it ends with the context.

    Raises `ToolUnavailable` with why there is none.
    """
    program = Program(spec, hidden) if spec.kind == "stdio" else None
    transport = program.streams() if program else http_streams(spec.name, spec.url, spec.headers)
    links: list[Link] = []

    async def told(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification) and links:
            links[0].listen()

    client = Client(
        transport,
        mode="auto",
        cache=None,
        message_handler=told,
        elicitation_callback=elicited,
        client_info=types.Implementation(name="control-room", version=_version()),
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(START_WITHIN):
                await stack.enter_async_context(client)
                link = Link(client, spec.name, hidden, changed)
                links.append(link)
                await link.list()
            watching = asyncio.create_task(_watch(program, link))
            following = asyncio.create_task(link.follow())
            try:
                yield link
            finally:
                for task in (watching, following):
                    task.cancel()
                await asyncio.gather(watching, following, return_exceptions=True)
    except ToolUnavailable:
        raise
    except Exception as error:
        why = (program.how_it_ended if program else "") or hidden(cause(error))
        raise ToolUnavailable(why[:2000]) from None
    if program is not None and program.how_it_ended:
        raise ToolUnavailable(program.how_it_ended)


async def _watch(program: Program | None, link: Link) -> None:
    if program is not None:
        await program.ended.wait()
        link.broken.set()


async def _unchecked(name: str, result: types.CallToolResult) -> None:
    """Takes any result."""


def cause(error: BaseException) -> str:
    """What happened at first, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError):
        return f"it was not ready in {START_WITHIN:g} s"
    return " ".join(str(error).split()) or type(error).__name__


def _version() -> str:
    try:
        return version("control-room")
    except PackageNotFoundError:  # run from its folder
        return "0"
