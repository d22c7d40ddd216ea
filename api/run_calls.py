"""The calls that a workflow's run makes at the room's doors, and what comes of them."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, Protocol

from pydantic_core import from_json

from actors.messages import Accepted, RunAsk, RunCall
from actors.run_tokens import RunToken
from api.commands import Commands
from api.following import Feeds, Follower
from api.idempotency import under
from api.problems import ProblemError
from api.room import Room
from api.run_gate import Gate
from api.shown import Committed, Piece
from api.states import SessionStates
from api.turnstile import Ticket, Turnstile
from events import chat
from events.canonical import canonical_json
from events.chat import WireMessage
from events.runs import RunRestarted
from events.turns import Turn
from events.types import SessionResumed
from events.values import SPILL, Blob, Parameters, Text
from projections.rerun import CallOutcome, RecordedRun, RunDiverged, Schedule

_log = logging.getLogger(__name__)

REPLAY = 1_000_000
"""From this attempt on they are replays, each with a number of its own: no other has so many."""
PATIENCE = 120.0
"""Seconds that a replayed outcome waits for what the log has before it."""
ROUTER_WITHIN = 120.0
"""Seconds that a call waits for a router that is away."""
KEPT = 256
"""Runs of which something is at hand: the order of their calls, the schedules of repeated ones."""
JSON = "application/json"

Show = Callable[[str], None]
"""Takes a piece of an answer as it comes: the JSON that its model's actor published."""


@dataclass(frozen=True, slots=True)
class Question:
    """A run asks a model. `tools` are those that the run calls itself; one may have to be."""

    participant: str
    given: tuple[WireMessage, ...]
    tools: Blob | None = None
    tool_choice: Literal["required"] | None = None
    parameters: Parameters = field(default_factory=Parameters)

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.participant} is asked"

    @property
    def digest(self) -> str:
        """SHA-256 over all of it as canonical JSON."""
        given = [one.model_dump(mode="json", exclude_defaults=True) for one in self.given]
        parameters = self.parameters.model_dump(mode="json", exclude_defaults=True)
        tools = self.tools.sha256 if self.tools else None
        forced = [] if self.tool_choice is None else [self.tool_choice]
        asked = [self.participant, given, tools, parameters, *forced]
        return sha256(canonical_json(asked)).hexdigest()


@dataclass(frozen=True, slots=True)
class ToolQuestion:
    """A run calls a tool; `arguments` is JSON text."""

    name: str
    arguments: str

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.name} is called"

    @property
    def digest(self) -> str:
        """SHA-256 over all of it as canonical JSON; of arguments that are none, over their text."""
        try:
            arguments = from_json(self.arguments, allow_inf_nan=False)
        except ValueError:
            arguments = [self.arguments]
        return sha256(canonical_json([self.name, arguments])).hexdigest()


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a call. Whoever passes it on calls `passed_on` when it has."""

    outcome: CallOutcome
    passed_on: Callable[[], None]


class RunCalls(Protocol):
    """Where the calls of runs go."""

    async def outcome(
        self,
        run: RunToken,
        call: Question | ToolQuestion,
        ticket: Ticket,
        *,
        show: Show | None = None,
        key: str | None = None,
    ) -> Told:
        """Make the call when it is its turn, and wait for what comes of it.

        `show` is given pieces as they come; the same `key` again is the same call. Raises a
        `ProblemError` where the run is over, or cannot make that call.
        """
        ...


class LiveCalls:
    """Calls become steps of the run's turn. What an attempt before made is not made again."""

    def __init__(self, room: Room, commands: Commands, feeds: Feeds, states: SessionStates) -> None:
        self._blobs = room.blobs
        self._commands = commands
        self._feeds = feeds
        self._states = states
        self._gates: dict[RunToken, Gate] = {}

    async def outcome(
        self,
        run: RunToken,
        call: Question | ToolQuestion,
        ticket: Ticket,
        *,
        show: Show | None = None,
        key: str | None = None,
    ) -> Told:
        """See `RunCalls`."""
        with under(key) as known:
            return await self._made(run, call, ticket, show, known)

    async def _made(
        self,
        run: RunToken,
        call: Question | ToolQuestion,
        ticket: Ticket,
        show: Show | None,
        key: str,
    ) -> Told:
        async with self._feeds.follow(run.session, None, pieces=show is not None) as follower:
            command = await self._command(run, call, key)
            with ticket:
                await ticket.turn()
                accepted = await self._sent(run, command, follower)
            assert accepted.step
            gate = await self._gate(run) if accepted.matched else None
            before = gate.made(accepted.step) if gate is not None else None
            outcome = await self._settled(run, accepted.step, follower, show)
            if gate is None or before is None or before.outcome is None:
                return Told(outcome, _nothing)
            try:
                return Told(outcome, await gate.turn_of(before))
            except RunDiverged as error:
                _log.warning("run %s in %s: %s; it goes on", run.turn, run.session, error)
                return Told(outcome, _nothing)

    async def _command(
        self, run: RunToken, call: Question | ToolQuestion, key: str
    ) -> RunAsk | RunCall:
        around: dict[str, Any] = {
            "session": run.session,
            "by": f"run:{run.session}",
            "id": f"{run.turn}.{run.attempt}.{sha256(key.encode()).hexdigest()}",
            "turn": run.turn,
            "attempt": run.attempt,
            "digest": call.digest,
        }
        if isinstance(call, ToolQuestion):
            return RunCall(**around, name=call.name, arguments=await self._text(call.arguments))
        return RunAsk(
            **around,
            participant=call.participant,
            given=await self._kept(chat.written(call.given)),
            tools=call.tools,
            tool_choice=call.tool_choice,
            parameters=call.parameters,
        )

    async def _kept(self, content: bytes) -> Blob:
        return await asyncio.to_thread(self._blobs.put, content, JSON)

    async def _text(self, text: str) -> Text:
        content = text.encode("utf-8", "surrogatepass")
        return text if len(content) <= SPILL else await self._kept(content)

    async def _sent(self, run: RunToken, command: RunAsk | RunCall, follower: Follower) -> Accepted:
        """The call is committed. It waits while the session is paused, or its router is away."""
        loop = asyncio.get_running_loop()
        until, retried = loop.time() + ROUTER_WITHIN, False
        while True:
            try:
                return await self._commands.send(command)
            except ProblemError as problem:
                if problem.kind == "unavailable" and loop.time() < until:
                    continue  # under the same id, which the router knows again
                if problem.kind != "refused" or retried:
                    raise
                if (await self._states.get(run.session)).status != "paused":
                    retried = True  # it may have been resumed since
                    continue
            await _until(follower, SessionResumed.type)
            retried = False

    async def _settled(
        self, run: RunToken, step: str, follower: Follower, show: Show | None
    ) -> CallOutcome:
        """The outcome of a step, or of the fallback that stands in for it."""
        while True:
            turn = (await self._states.get(run.session)).turns[run.turn]
            step = stand_in(turn, step)
            outcome = turn.steps[step].outcome if step in turn.steps else None
            if isinstance(outcome, CallOutcome):
                return outcome
            if turn.end is not None:
                raise ProblemError(
                    "refused", f"the run has ended ({turn.status}) without this call"
                )
            for item in await follower.next():
                if isinstance(item, Piece) and show is not None and item.key == (run.turn, step):
                    show(item.frame)

    async def _gate(self, run: RunToken) -> Gate | None:
        """What holds outcomes back where an attempt before this one had them in another order."""
        gate = self._gates.get(run)
        if gate is None:
            events = await self._states.turn_events(run.session, run.turn)
            began = max(one.position for one in events if isinstance(one.data, RunRestarted))
            before = RecordedRun.of((one for one in events if one.position < began), run.turn)
            gate = self._gates.setdefault(run, Gate(Schedule(before)))
            while len(self._gates) > KEPT:
                self._gates.pop(next(iter(self._gates)))
        return gate


class RecordedCalls:
    """Calls get what the log has; nobody is asked. One replayed run."""

    def __init__(self, recorded: RecordedRun) -> None:
        self.diverged: RunDiverged | None = None
        self._gate = Gate(Schedule(recorded), PATIENCE)
        self.exhausted = self._gate.exhausted
        """Set when every recorded call was made, and got its outcome."""

    async def outcome(
        self,
        run: RunToken,
        call: Question | ToolQuestion,
        ticket: Ticket,
        *,
        show: Show | None = None,
        key: str | None = None,
    ) -> Told:
        """See `RunCalls`. The first divergence is kept."""
        try:
            with ticket:
                await ticket.turn()
                recorded = self._gate.call(call.digest, call.what)
            passed_on = await self._gate.turn_of(recorded)
        except RunDiverged as error:
            self.diverged = self.diverged or error
            raise ProblemError("refused", f"the replayed run diverged: {error.message}") from None
        assert recorded.outcome is not None
        return Told(recorded.outcome, passed_on)

    @property
    def left(self) -> tuple[str, ...]:
        """The recorded calls that were not made."""
        return self._gate.schedule.left()


class RunDoors:
    """Where the calls of runs go, by their token: to the room, or to the log of a replayed run."""

    def __init__(self, live: RunCalls) -> None:
        self._live = live
        self._replayed: dict[RunToken, RunCalls] = {}
        self._turnstiles: OrderedDict[RunToken, Turnstile] = OrderedDict()

    def ticket(self, run: RunToken, number: int | None = None) -> Ticket:
        """The place of a call that has come just now; see `api.turnstile`."""
        turnstile = self._turnstiles.setdefault(run, Turnstile())
        self._turnstiles.move_to_end(run)
        if len(self._turnstiles) > KEPT:
            self._turnstiles.popitem(last=False)
        return turnstile.ticket(number)

    def of(self, run: RunToken) -> RunCalls:
        """Where the calls of that run go. Raises a `ProblemError` for a replay that is over."""
        if run.attempt < REPLAY:
            return self._live
        if (found := self._replayed.get(run)) is None:
            raise ProblemError("not-found", "that replay of a run has ended")
        return found

    @contextmanager
    def replaying(self, run: RunToken, calls: RunCalls) -> Iterator[None]:
        """Let the calls of that run go to `calls`. One replay of a run at a time."""
        if any((one.session, one.turn) == (run.session, run.turn) for one in self._replayed):
            raise ProblemError("refused", "the run is being replayed already: wait for its end")
        self._replayed[run] = calls
        try:
            yield
        finally:
            del self._replayed[run]
            self._turnstiles.pop(run, None)


def stand_in(turn: Turn, step: str) -> str:
    """The last fallback that was asked in place of that step; itself where there is none."""
    for key, other in turn.steps.items():
        if other.asked is not None and other.asked.instead_of == step:
            return stand_in(turn, key)
    return step


async def _until(follower: Follower, type: str) -> None:
    while True:
        for item in await follower.next():
            if isinstance(item, Committed) and item.type == type:
                return


def _nothing() -> None:
    pass
