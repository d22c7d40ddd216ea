"""The actor of one tool server: takes calls, makes them once, and reports what came of each."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any

import mcp_types as types
from mcp.client.stdio import DEFAULT_INHERITED_ENV_VARS
from pydantic import ValidationError

from actors import subjects
from actors.bus import Bus, Msg, Subscription
from actors.deltas import DeltaPublisher, DeltaStream
from actors.messages import CallTool, Outcome
from actors.providers.http_errors import Secrets
from actors.serving import HEARTBEAT, Call, Key, Serving
from actors.tools.attempt import Attempt
from actors.tools.checking import Checker
from actors.tools.config import ToolServerSpec, resolved
from actors.tools.connection import Connection
from actors.tools.listing import LISTED, TOOLS, WHO, ListedTool, Listing
from events.canonical import canonical_json
from events.errors import ControlRoomError
from events.store import BlobStore
from events.tools import ElicitationAnswered
from events.values import Blob

_log = logging.getLogger(__name__)


class ToolServerActor:
    """One configured tool server. A plain class: what runs it is another's affair.

    Several actors of one server, where it keeps no state, share the calls.
    """

    def __init__(
        self,
        bus: Bus,
        blobs: BlobStore,
        spec: ToolServerSpec,
        environment: Mapping[str, str],
        *,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._bus = bus
        self._blobs = blobs
        self._spec = spec
        self._environment = environment
        self._connection: Connection | None = None
        self._secrets = Secrets(())
        self._checker = Checker()
        self._publisher = DeltaPublisher(bus)
        self._calls: Serving[Attempt] = Serving(
            bus, f"tool server {spec.name}", self._outcome, heartbeat=heartbeat
        )
        self._subscriptions: list[Subscription] = []
        self._listed: Blob | None = None

    async def start(self) -> None:
        """Returns when calls are taken; the server itself may still be starting.

        Raises a `ConfigError` where something that its configuration refers to cannot be read.
        """
        spec, found = await asyncio.to_thread(resolved, self._spec, self._environment)
        self._secrets.add(*secret_texts(found, self._environment))
        self._connection = Connection(spec, self._secrets.hidden, self._changed)
        self._connection.start()
        self._publisher.start()
        await self._calls.start()
        name = self._spec.name
        for subject, take, queue in (
            ("room.elicited.>", self._on_answer, ""),
            (WHO, self._on_who, ""),
            (subjects.tool_server(name), self._on_call, "tools"),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, take, queue=queue))
        await self._changed()

    async def stop(self, within: float = 5.0) -> None:
        """Take no further call, finish those at work within so many seconds, and end the server.

        An abandoned call sends no outcome: its heartbeats end.
        """
        for subscription in reversed(self._subscriptions):
            await subscription.unsubscribe()
        await self._calls.stop(within)
        if self._connection is not None:
            await self._connection.stop()
        await self._checker.stop()
        await self._publisher.stop()

    @property
    def idle(self) -> float:
        """Seconds since it had a call; 0 while it has."""
        return self._calls.idle

    async def health(self) -> dict[str, Any]:
        """What it says of itself."""
        return {**self.listing().model_dump(mode="json"), "connected": self._bus.connected}

    def listing(self) -> Listing:
        """The state of the server, and where its list of tools lies."""
        connection = self._connection
        return Listing(
            server=self._spec.name,
            up=connection is not None and connection.up,
            problem=connection.problem if connection else "",
            protocol=connection.protocol if connection else None,
            implementation=connection.implementation if connection else None,
            calls=len(self._calls),
            tools=self._listed,
            left_out=connection.left_out if connection else (),
        )

    # --- messages --------------------------------------------------------------------------------

    async def _changed(self) -> None:
        """Say what the server has now."""
        tools = self._connection.tools if self._connection else None
        if tools is not None:
            hidden = self._secrets.hidden
            listed = tuple(
                _listed(tool, self._secrets) for tool in tools if hidden(tool.name) == tool.name
            )
            content = canonical_json(LISTED.dump_python(listed, mode="json"))
            try:
                self._listed = await asyncio.to_thread(self._blobs.put, content, "application/json")
            except (ControlRoomError, OSError) as error:
                _log.error("the tools of %s cannot be stored: %s", self._spec.name, error)
        await self._bus.publish(TOOLS, self.listing())

    async def _on_who(self, msg: Msg) -> None:
        await self._bus.publish(TOOLS, self.listing())

    def _on_answer(self, msg: Msg) -> None:
        parts = msg.subject.split(".")
        if len(parts) != 5:
            return
        for call in self._calls:
            if call.job.place == (parts[2], parts[3], parts[4]):
                call.job.answer(ElicitationAnswered.model_validate_json(msg.data))

    def _on_call(self, msg: Msg) -> Awaitable[None] | None:
        try:
            call = CallTool.model_validate_json(msg.data)
        except ValidationError as error:
            _log.error("a call of a tool is malformed: %s", error.errors()[0]["msg"])
            return None
        if not self._calls.takes(call.step) or call.server != self._spec.name:
            _log.error("%s: step %.100r is not for this server", self._spec.name, call.step)
            return None

        def begin(key: Key) -> tuple[Attempt, DeltaStream]:
            assert self._connection
            deltas = self._publisher.open(*key)
            attempt = Attempt(
                self._bus,
                self._blobs,
                self._connection,
                call,
                deltas,
                checker=self._checker,
                secrets=self._secrets,
                timeout=self._spec.timeout,
            )
            return attempt, deltas

        return self._calls.take(call, begin, msg)

    async def _outcome(self, key: Key, call: Call[Attempt]) -> Outcome | None:
        """What came of the call; None of one that was cancelled: nobody waits for that."""
        session, turn, step, number = key
        update: dict[str, Any]
        try:
            if call.cancelled:
                return None
            update = {"returned": await call.job.returned()}
        except asyncio.CancelledError:
            if not call.cancelling():
                raise
            return None
        except ControlRoomError as error:
            update = {"tool_failed": call.job.failed(error)}
        except Exception as error:
            _log.exception("%s: a call failed", self._spec.name)
            fault = ControlRoomError(f"the tool server's actor failed ({type(error).__name__})")
            update = {"tool_failed": call.job.failed(fault)}
        return Outcome(session=session, turn=turn, step=step, attempt=number, **update)


def secret_texts(found: Iterable[str], environment: Mapping[str, str]) -> Iterator[str]:
    """What stood for references, as it may come back: in lines, and in JSON.

    What every program is told of our environment is no secret, such as the home folder.
    """
    known = {environment.get(name) for name in DEFAULT_INHERITED_ENV_VARS}
    for text in found:
        if text not in known:
            yield from (text, *text.splitlines())
            yield json.dumps(text)[1:-1]
            yield json.dumps(text, ensure_ascii=False)[1:-1]


def _listed(tool: types.Tool, secrets: Secrets) -> ListedTool:
    hints = tool.annotations
    return ListedTool(
        name=tool.name,
        title=None if tool.title is None else secrets.hidden(tool.title),
        description=secrets.hidden(tool.description or ""),
        parameters=secrets.hidden_within(tool.input_schema),
        output=secrets.hidden_within(tool.output_schema),
        annotations=None
        if hints is None
        else secrets.hidden_within(hints.model_dump(mode="json", by_alias=True, exclude_none=True)),
    )
