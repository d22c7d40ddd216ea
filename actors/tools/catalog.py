"""What the tool servers offer, as their actors said last: on what the tools of a turn stand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from actors.addresses import ToolAddress
from actors.bus import Bus, Msg
from actors.calls import Ensure
from actors.tools.config import ToolServers, missing
from actors.tools.listing import LISTED, TOOLS, WHO, ListedTool, Listing
from actors.tools.names import offered_names
from events.canonical import canonical_json
from events.config import SessionConfig
from events.errors import ConfigError, ControlRoomError, ToolStarting, ToolUnavailable
from events.grants import ToolGrant
from events.values import Blob

_log = logging.getLogger(__name__)

WITHIN: Final = 30.0
"""Seconds that a queued turn waits for the list of a server of which none was ever seen."""
BRIEFLY: Final = 0.3
"""The same for a turn that is posted, which whoever posts it posts again."""
_NAMED: Final = 20
"""Tools that an error names."""


class ToolCatalog:
    """The lists of all configured servers. Lists are remembered while their server is down.

    `load` reads what a blob holds. Reading is for any thread, the rest for the event loop.
    """

    def __init__(
        self,
        servers: ToolServers,
        environment: Mapping[str, str],
        load: Callable[[Blob], bytes],
    ) -> None:
        self.servers = servers
        self.revision = 0
        """Grows when a list changes."""
        self._environment = environment
        self._load = load
        self._listings: dict[str, Listing] = {}
        self._lists: dict[str, Blob] = {}
        self._read: dict[str, tuple[Blob, tuple[ListedTool, ...]]] = {}
        self._problems: dict[str, str] = {}
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    async def listen(self, bus: Bus) -> None:
        """Take what the actors say, and have those that run say it now."""
        await bus.subscribe(TOOLS, self._said)
        await self.ask(bus)

    async def ask(self, bus: Bus) -> None:
        """Have all actors say what they have."""
        await bus.publish(WHO, b"{}")

    def _said(self, msg: Msg) -> None:
        try:
            listing = Listing.model_validate_json(msg.data)
        except ValidationError as error:
            _log.warning("what a tool server lists cannot be read: %s", error.errors()[0]["msg"])
            return
        name = listing.server
        if name not in self.servers:
            return
        self._listings[name] = listing
        if listing.tools is not None and self._lists.get(name) != listing.tools:
            self._lists[name] = listing.tools
            self.revision += 1
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # --- what is known ---------------------------------------------------------------------------

    def listing(self, server: str) -> Listing | None:
        """What its actor said last; None where it has said nothing."""
        return self._listings.get(server)

    def forget(self, server: str) -> None:
        """Its actor is to say anew how it is; its list stays known."""
        self._listings.pop(server, None)

    def tools(self, server: str) -> tuple[ListedTool, ...] | None:
        """The server's tools as listed last; None where none was ever seen. May read a file."""
        blob = self._lists.get(server)
        if blob is None:
            return None
        known = self._read.get(server)
        if known is None or known[0] != blob:
            known = self._read[server] = (blob, LISTED.validate_json(self._load(blob)))
        return known[1]

    def ready(self, config: SessionConfig | None) -> bool:
        """Whether the list of every server that is granted was seen."""
        return all(server in self._lists for server in _granted(config))

    async def wait(self, config: SessionConfig | None, ensure: Ensure, within: float) -> None:
        """Have the granted servers started; returns when all are listed, or one says why not."""
        lacking = [name for name in _granted(config) if name not in self._lists]
        before = {name: self._listings.get(name) for name in lacking}
        for name in lacking:
            if name in self.servers and name not in self._starts:
                self._problems.pop(name, None)
                self._starts[name] = asyncio.create_task(self._start(name, ensure))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self.ready(config) and not self._hopeless(before):
                    await self._news.wait()

    async def _start(self, server: str, ensure: Ensure) -> None:
        try:
            await ensure(ToolAddress(server))
        except ControlRoomError as error:
            self._problems[server] = error.message
            self._tell()
        finally:
            del self._starts[server]

    def _hopeless(self, before: Mapping[str, Listing | None]) -> bool:
        """Whether a server has failed since."""
        for name, then in before.items():
            now = self._listings.get(name)
            failed = now is not None and now is not then and now.problem != ""
            unknown = name not in self._lists
            if unknown and (failed or name in self._problems or name not in self.servers):
                return True
        return False

    # --- what sessions make of it ----------------------------------------------------------------

    def check(self, who: str, grants: Iterable[ToolGrant]) -> None:
        """Raise a `ConfigError` where a grant is of what is not there, as far as is known."""
        for grant in grants:
            spec = self.servers.find(grant.server)
            if unset := missing(spec, self._environment):
                raise ConfigError(
                    f"{who}: tool server {spec.name!r} needs {', '.join(unset)}: provide it and"
                    " start the room again"
                )
            listed = self.tools(spec.name)
            names = [tool.name for tool in listed or ()]
            for tool in grant.tools or () if listed is not None else ():
                if tool not in names:
                    some = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
                    raise ConfigError(
                        f"{who}: tool server {spec.name!r} has no tool {tool[:100]!r}: use one of"
                        f" {some or 'none'}"
                    )

    def offers(self, grants: tuple[ToolGrant, ...], put: Callable[[bytes], Blob]) -> dict[str, Any]:
        """What a participant with these grants is offered, as a turn's facts hold it.

        Raises `ToolUnavailable` where a server never listed its tools, `ToolStarting` where it may
        yet. A granted tool that is not
        listed any more is left out; what one grant wants approved is approved.
        """
        found: dict[tuple[str, str], ListedTool] = {}
        approval: set[tuple[str, str]] = set()
        for grant in grants:
            server = self.servers.find(grant.server).name
            listed = self.tools(server)
            if listed is None:
                why = self._why_not(server)
                kind = ToolUnavailable if why else ToolStarting
                raise kind(
                    f"the tools of server {server!r} are not known yet: {why or 'it is starting'}"
                )
            for tool in listed:
                if grant.covers(tool.name):
                    found[server, tool.name] = tool
                    approval |= {(server, tool.name)} if grant.approval else set()
        names = offered_names(found)
        offered = [
            {
                "name": name,
                "description": found[tool].description,
                "parameters": found[tool].parameters,
            }
            for name, tool in names.items()
        ]
        return {
            "offered": put(canonical_json(offered)).model_dump(mode="json"),
            "calls": {
                name: {"server": tool[0], "tool": tool[1], "approval": tool in approval}
                for name, tool in names.items()
            },
        }

    def _why_not(self, server: str) -> str:
        listing = self._listings.get(server)
        return self._problems.get(server) or (listing.problem if listing is not None else "")


def _granted(config: SessionConfig | None) -> tuple[str, ...]:
    return config.granted if config is not None else ()
