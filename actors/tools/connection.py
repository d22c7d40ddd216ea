"""The connection to one tool server: made, kept, and made again; calls go through it.

Nothing is called twice: a call whose connection ends meanwhile is lost. A connection that was idle
is tried before a call relies on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

import httpx2
import mcp_types as types
from mcp import MCPError
from mcp.client import ClientRequestContext, InputRequiredRoundsExceededError
from mcp.shared.dispatcher import ProgressFnT
from pydantic import ValidationError

from actors.tools.bounds import Tools
from actors.tools.config import ToolServerSpec
from actors.tools.link import START_WITHIN, Link, cause, linked
from events.errors import (
    BadResult,
    ControlRoomError,
    ToolError,
    ToolLost,
    ToolNotFound,
    ToolUnavailable,
)

_log = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.2, 30.0  # seconds before it is made again, doubled while that fails
STEADY: Final = 30.0  # seconds after which it counts as having worked
LONGEST_ERROR: Final = 2000  # characters
CALLED_OFF: Final = 600.0
"""Seconds in which a call that was called off may still ask: its server need not have noticed."""

_CLOSED: Final = ("Connection closed", "SSE stream ended")
"""How the client's own words for a connection that has ended begin."""

UNCLEAR: Final = (
    "nobody can tell who is asked: another call is open or was called off lately, or none is open."
    " Ask again during a call that is alone"
)

Elicit = Callable[[types.ElicitRequestParams], Awaitable[types.ElicitResult]]

_asking: ContextVar[Elicit | None] = ContextVar("asking", default=None)
"""Who asks the person, for the call of the present context."""


class Connection:
    """The connection to one server, wanted from `start` until `stop`.

    `spec` has its references filled in; `hidden` takes what stood for them out of a text.
    `changed` is called whenever its state or its list of tools is another.
    """

    def __init__(
        self,
        spec: ToolServerSpec,
        hidden: Callable[[str], str],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self.tools: Tools | None = None
        """What the server has, as far as it ever said."""
        self.left_out: tuple[str, ...] = ()
        """What it has beside, and why that is not taken."""
        self.protocol: str | None = None
        self.implementation: str | None = None
        self.problem = ""
        """Why it is not up."""
        self._spec = spec
        self._hidden = hidden
        self._changed = changed
        self._link: Link | None = None
        self._attempts = 0  # that are over
        self._attempting = False
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._elicits: list[Elicit] = []  # of the calls that are open on the link
        self._called_off = -math.inf  # when one on this link was, last
        self._keeper: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the server has answered, and the connection stands as far as is known."""
        return self._link is not None and not self._link.broken.is_set()

    def start(self) -> None:
        """Have it made, and made again whenever it ends."""
        self._keeper = asyncio.create_task(self._keep(), name=f"tools {self._spec.name}")

    async def stop(self) -> None:
        """End it, and the program with it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    # --- calls -----------------------------------------------------------------------------------

    async def call(
        self, tool: str, arguments: dict[str, Any], progress: ProgressFnT, elicit: Elicit
    ) -> types.CallToolResult:
        """What the tool gives back. Cancel it and the server is told.

        Raises `ToolUnavailable` where nothing was called, `ToolLost` where the connection ended
        meanwhile, `BadResult` for nonsense, and `ToolError` with what the server says otherwise.
        """
        link = await self.ready()
        _asking.set(elicit)
        elicits = self._elicits
        elicits.append(elicit)
        try:
            try:
                return await link.client.call_tool(tool, arguments, progress_callback=progress)
            except MCPError as error:
                if error.code != types.URL_ELICITATION_REQUIRED:
                    raise
                # It has refused, and says where the person has to go first.
                await _agreed(error, elicit)
                return await link.client.call_tool(tool, arguments, progress_callback=progress)
        except MCPError as error:
            raise self._explained(error, tool) from None
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"][:8])
            raise self._bad(f"it is no result of a tool: {where}: {fault['msg']}") from None
        except InputRequiredRoundsExceededError:
            raise self._bad("it wants to know more and more, and never gives a result") from None
        except (httpx2.HTTPError, OSError) as error:
            raise self._lost(cause(error)) from None
        except RuntimeError as error:  # what is structured does not fit the server's own schema
            raise self._bad(str(error)) from None
        except asyncio.CancelledError:
            if elicits is self._elicits:
                self._called_off = asyncio.get_running_loop().time()
            raise
        finally:
            elicits.remove(elicit)
            link.heard = asyncio.get_running_loop().time()

    def _explained(self, error: MCPError, tool: str) -> ControlRoomError:
        name, said = self._spec.name, self._hidden(error.message)[:LONGEST_ERROR]
        # Servers use that code for errors of their own.
        if error.code == types.CONNECTION_CLOSED and error.message.startswith(_CLOSED):
            return self._lost(error.message)
        if error.code == types.PARSE_ERROR or error.message.startswith("SSE stream failed"):
            return self._bad(error.message)
        if self.tools is not None and tool not in {one.name for one in self.tools}:
            return ToolNotFound(f"tool server {name!r} has no tool {tool!r}: {said}")
        return ToolError(f"tool server {name!r} answered with error {error.code}: {said}")

    def _lost(self, why: str) -> ToolLost:
        return ToolLost(
            f"the connection to tool server {self._spec.name!r} ended during the call"
            f" ({self._hidden(why)[:LONGEST_ERROR]}): the call may have been carried out"
        )

    def _bad(self, what: str) -> BadResult:
        said = self._hidden(what)[:LONGEST_ERROR]
        return BadResult(f"the answer of tool server {self._spec.name!r} cannot be used: {said}")

    async def _elicited(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Pass on what the server asks to the call that it asks for, where it is sure which."""
        elicit = self._asker()
        if elicit is None:
            _log.warning("%s asks a person, and nobody can tell whom", self._spec.name)
            return types.ErrorData(code=types.INVALID_REQUEST, message=UNCLEAR)
        try:
            return await elicit(params)
        except ToolError as error:
            return types.ErrorData(code=types.INVALID_PARAMS, message=error.message)

    def _asker(self) -> Elicit | None:
        """The call that asks.

        A program that speaks a version of before 2026 does not say which that is. Calls of all
        sessions share the connection, so it is never guessed: no other may be able to ask.
        """
        known = _asking.get()
        if known is not None:
            return known if known in self._elicits else None
        lately = asyncio.get_running_loop().time() - self._called_off < CALLED_OFF
        return self._elicits[0] if len(self._elicits) == 1 and not lately else None

    # --- readiness -------------------------------------------------------------------------------

    async def ready(self) -> Link:
        """The connection, which stands and was heard of lately; where need be it is made now.

        Raises `ToolUnavailable` with what hindered.
        """
        try:
            async with asyncio.timeout(START_WITHIN):
                link = await self._connected()
                # While something is called nobody else needs to try whether it answers.
                if not self._elicits and not await link.alive():
                    link = await self._connected()
                return link
        except TimeoutError:
            raise self._unavailable(f"it was not ready in {START_WITHIN:g} s") from None

    async def _connected(self) -> Link:
        # One that has begun already may fail for what is over by now.
        enough = self._attempts + (2 if self._attempting else 1)
        while self._link is None or self._link.broken.is_set():
            if self._attempts >= enough:
                raise self._unavailable(self.problem)
            self._hurry.set()
            await self._news.wait()
        return self._link

    def _unavailable(self, why: str) -> ToolUnavailable:
        return ToolUnavailable(f"tool server {self._spec.name!r} is not available: {why}")

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            self._hurry.clear()
            self._attempting = True
            try:
                await self._once()
            except ToolUnavailable as error:
                self.problem = error.message
                _log.warning("tool server %s: %s", self._spec.name, self.problem)
            except Exception as error:
                self.problem = f"its connection failed ({type(error).__name__})"
                _log.exception("tool server %s", self._spec.name)
            self._link, self._attempting = None, False
            self._attempts += 1
            await self._tell()
            if loop.time() - began > STEADY:
                pause = FIRST_PAUSE
            await asyncio.sleep(FIRST_PAUSE * random.uniform(0.5, 1.0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            pause = min(2 * pause, LAST_PAUSE)

    async def _once(self) -> None:
        """One connection, until it ends."""
        async with linked(self._spec, self._hidden, self._elicited, self._listed) as link:
            self._link, self.problem = link, ""
            self.tools, self.left_out = link.tools, link.left_out
            self._elicits, self._called_off = [], -math.inf
            self.protocol, self.implementation = link.protocol, link.implementation
            _log.info("tool server %s is up (MCP %s)", self._spec.name, self.protocol)
            await self._tell()
            await link.broken.wait()
            self.problem = "it answers no more"

    async def _listed(self, link: Link) -> None:
        if (link.tools, link.left_out) != (self.tools, self.left_out):
            self.tools, self.left_out = link.tools, link.left_out
            await self._tell()

    async def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        await self._changed()


async def _agreed(error: MCPError, elicit: Elicit) -> None:
    """Returns when the person has been where the server wants; raises where not."""
    wanted = types.ElicitationRequiredErrorData.model_validate(error.data)
    for each in wanted.elicitations:
        if (await elicit(each)).action != "accept":
            raise ToolError(f"the person did not do what the tool needs: {each.message}")
