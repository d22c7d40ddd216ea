"""One live session: takes inputs one at a time, and commits what follows from each."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from actors.bus import Bus
from actors.calls import Calls
from actors.deciding import Decide, Decision, Grounding, can_start, next_turn
from actors.dispatch import Dispatch
from actors.long_texts import of_input, of_message
from actors.paying import Paying
from actors.routing import context
from actors.routing.batch import Given
from actors.routing.machine import Scripts, SessionMachine
from actors.tools.catalog import BRIEFLY, WITHIN
from events.config import SessionConfig
from events.envelope import Event, now
from events.errors import (
    ConfigError,
    Conflict,
    ControlRoomError,
    ReplayDiverged,
    StoreError,
    ToolError,
)
from events.session import Session
from events.store import BlobStore, EventStore
from events.types import TurnCancelled

_log = logging.getLogger(__name__)

CONFLICTS = 5
"""How often a decision is made again after another writer was faster."""
TOGETHER = 8
"""Inputs that were waiting for a commit and go into the next one together, at most."""
AGAIN, LAST_AGAIN = 1.0, 30.0
"""Seconds after which a session is taken up again that the store did not let go on; doubled."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions of a router share.

    `load`, `scripts` and `ground` may read and write files; `ready` says of a configuration that
    its `ground` does not; `prepared` returns when it may, or after a while. `run_key` signs tokens.
    """

    bus: Bus
    store: EventStore
    blobs: BlobStore
    calls: Calls
    paying: Paying
    run_key: bytes
    load: context.Load
    scripts: Scripts
    ground: Grounding
    ready: Callable[[SessionConfig | None], bool]
    prepared: Callable[[SessionConfig | None, float], Awaitable[None]]


Reads = Callable[[Session], bool]
"""Whether a decision reads or writes files, and is to be taken in a thread."""


def _nothing(_: Session) -> bool:
    return False


@dataclass(slots=True)
class _Job:
    decide: Decide
    reads: Reads
    answer: asyncio.Future[tuple[Decision, int]] | None


class Conductor:
    """Serialises everything that happens to one session.

    One append is in flight at a time; what comes meanwhile is taken up in its order, and goes into
    the next one together. A step is sent only after the commit that holds it. Where an append
    fails, what is in memory is dropped and folded again from the log.
    """

    def __init__(self, stream: str, around: Surroundings) -> None:
        self.stream = stream
        self._around = around
        self._machine: SessionMachine | None = None
        self._jobs: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._dispatch = Dispatch(
            stream,
            bus=around.bus,
            blobs=around.blobs,
            calls=around.calls,
            paying=around.paying,
            run_key=around.run_key,
            tell=self.tell,
            submit=self.submit,
        )
        self._again: asyncio.TimerHandle | None = None
        self._pause = AGAIN

    @property
    def idle(self) -> bool:
        """Whether nothing is going on, so that the session can be dropped from memory."""
        open_turn = self._machine is not None and self._machine.session.open is not None
        busy = self._jobs or self._worker or self._again
        return not busy and not open_turn

    async def submit(self, decide: Decide, reads: Reads = _nothing) -> tuple[Decision, int]:
        """Decide in turn and commit; returns the decision and the position it led to.

        Raises what `decide` raises, and `StoreError` where the commit was not possible.
        """
        answer: asyncio.Future[tuple[Decision, int]] = asyncio.get_running_loop().create_future()
        self._push(_Job(decide, reads, answer))
        return await answer

    def tell(self, decide: Decide) -> None:
        """As `submit`, without waiting for what comes of it."""
        self._push(_Job(decide, _nothing, None))

    def silent(self, key: tuple[str, str, str], attempt: int) -> None:
        """Nothing is heard of a call: ask again, or give it up."""
        self._dispatch.silent(key, attempt)

    async def answer_again(self, key: tuple[str, str, str], id: str) -> None:
        """A tool asks a person what it has asked before: it may have been answered by now."""
        if self._machine is not None:
            await self._dispatch.answer_again(self._machine, key, id)

    def wake(self) -> None:
        """Load the session, so that an open or queued turn goes on."""
        self.tell(lambda _: Decision())

    async def stop(self) -> None:
        """Drop the session from memory; what was not committed did not happen."""
        self._forget()
        if self._again is not None:
            self._again.cancel()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for job in self._jobs:
            if job.answer is not None:
                job.answer.cancel()

    # --- one input at a time ---------------------------------------------------------------------

    def _push(self, job: _Job) -> None:
        self._jobs.append(job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"session-{self.stream}")

    async def _work(self) -> None:
        try:
            while self._jobs:
                jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), TOGETHER))]
                if len(jobs) == 1 or not await self._done_together(jobs):
                    for job in jobs:
                        await self._do(job)
        finally:
            self._worker = None

    async def _do(self, job: _Job) -> None:
        try:
            result = await self._carry_out(job)
        except Exception as error:
            self._report(job, error)
        else:
            _answer(job, result)

    async def _done_together(self, jobs: Sequence[_Job]) -> bool:
        """Whether the jobs could be carried out with one commit.

        Where not, each is to be done by itself: it then finds in the log whether it was done.
        """
        taken: list[tuple[_Job, Decision, int]] = []
        refused: list[tuple[_Job, Exception]] = []
        events: list[Event] = []
        try:
            machine = self._machine or await self._restore()
            after, at = machine.session.position, now()
            for job in jobs:
                try:
                    decision = await self._decided(job, machine.session)
                except Exception as error:
                    refused.append((job, error))
                    continue
                made = await self._made(machine, decision.givens, at)
                events += made
                taken.append((job, decision, _position(machine, decision, made)))
            if events:
                await self._append(machine, after, events)
        except Exception:
            self._forget()
            return False
        except BaseException:
            self._forget()
            raise
        if events:
            await self._let_happen(machine, events)
        for job, reason in refused:
            self._report(job, reason)
        for job, decision, position in taken:
            _answer(job, (decision, position))
        return True

    def _report(self, job: _Job, error: Exception) -> None:
        if job.answer is not None and not job.answer.done():
            job.answer.set_exception(error)
        elif isinstance(error, ControlRoomError):
            _log.warning("session %s: %s", self.stream, error)
        else:
            _log.error("session %s", self.stream, exc_info=error)
        if isinstance(error, ControlRoomError) and error.retryable and self._machine is None:
            self._take_up_later()

    def _take_up_later(self) -> None:
        """The session may have timers and calls, which only its log knows of now."""
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(self._pause, self._take_up)
            self._pause = min(2 * self._pause, LAST_AGAIN)

    def _take_up(self) -> None:
        self._again = None
        self.wake()

    async def _carry_out(self, job: _Job) -> tuple[Decision, int]:
        for _ in range(CONFLICTS):
            machine = self._machine or await self._restore()
            decision = await self._decided(job, machine.session)
            if not decision.givens:
                return decision, _position(machine, decision, ())
            try:
                events = await self._commit(machine, decision.givens)
            except Conflict:
                continue
            await self._let_happen(machine, events)
            return decision, _position(machine, decision, events)
        raise StoreError(f"session {self.stream!r} has another writer", retryable=True)

    async def _decided(self, job: _Job, session: Session) -> Decision:
        if not job.reads(session):
            return job.decide(session)
        await self._around.prepared(session.config, BRIEFLY)
        return await asyncio.to_thread(job.decide, session)

    async def _commit(self, machine: SessionMachine, givens: Sequence[Given]) -> list[Event]:
        """Append what follows from `givens`, all or nothing; on failure forget the machine."""
        after = machine.session.position
        try:
            events = await self._made(machine, givens, now())
            await self._append(machine, after, events)
        except BaseException:
            self._forget()
            raise
        return events

    async def _made(
        self, machine: SessionMachine, givens: Sequence[Given], at: datetime
    ) -> list[Event]:
        """The events of `givens`, and of the turn that can start after them."""
        session, events = machine.session, list[Event]()
        for given in givens:
            # In a thread, nobody else touches the machine meanwhile.
            events += await _run(of_input(given.data), partial(machine.advance, given, at))
        if can_start(session):  # which alone is worth waiting for what it needs
            if reads := self._start_reads(session):
                await self._around.prepared(session.config, WITHIN)
            events += await _run(reads, partial(self._start, machine, at))
        return events

    def _start(self, machine: SessionMachine, at: datetime) -> list[Event]:
        """What starts the queued turn, in the batch of what ended the one before it.

        A head without an open turn says that nothing waits behind it.
        """
        events = []
        while (start := self._start_next(machine.session)) is not None:
            events += machine.advance(start, at)
        return events

    def _start_reads(self, session: Session) -> bool:
        """Whether the queued turn needs facts that are not at hand, or a long text."""
        waiting = session.turns[session.queue[0]].message
        return not self._around.ready(session.config) or of_message(waiting)

    async def _append(self, machine: SessionMachine, after: int, events: list[Event]) -> None:
        for content in machine.texts.made.values():
            await asyncio.to_thread(self._around.blobs.put, content)
        machine.texts.made.clear()
        await self._around.store.append(self.stream, after, events)

    def _forget(self) -> None:
        self._machine = None
        self._dispatch.rest()

    async def _restore(self) -> SessionMachine:
        """The machine as the log has it; calls that may still be under way are listened for."""
        recorded = await self._around.store.read(self.stream)
        machine = SessionMachine(self.stream, self._around.load, self._around.scripts)
        try:
            if recorded:
                await asyncio.to_thread(machine.restore, recorded)
        except ReplayDiverged as error:
            _log.error("session %s: its router does not repeat itself: %s", self.stream, error)
            machine = self._folded(recorded)
            self._give_up(machine, error)
        except ControlRoomError as error:
            if error.retryable:
                raise
            # A turn that this release cannot continue can still be read, cancelled and closed, and
            # its deadline ends it.
            _log.error("session %s: its open turn cannot go on here: %s", self.stream, error)
            machine = self._folded(recorded)
        self._machine, self._pause = machine, AGAIN
        self._dispatch.resume(machine)
        return machine

    def _folded(self, recorded: Sequence[Event]) -> SessionMachine:
        """The session's state without the router of its open turn."""
        machine = SessionMachine(self.stream, self._around.load, self._around.scripts)
        for event in recorded:
            machine.session.apply(event)
        return machine

    def _give_up(self, machine: SessionMachine, error: ReplayDiverged) -> None:
        turn = machine.session.open
        if turn is not None:
            given = Given(
                TurnCancelled(reason=f"the turn could not be continued: {error}"[:4000]),
                by="router",
                turn=turn.id,
            )
            self.tell(lambda session: Decision((given,)) if session.open else Decision())

    async def _let_happen(self, machine: SessionMachine, events: Sequence[Event]) -> None:
        """What follows from a commit; after a fault the rest is done from the log afresh."""
        try:
            await self._dispatch.after(machine, events)
        except Exception:
            _log.exception("session %s: its steps could not be sent", self.stream)
            self._forget()
            self.wake()

    def _start_next(self, session: Session) -> Given | None:
        """What starts the next queued turn where none is open, or ends one that cannot start."""
        try:
            return next_turn(session, self._around.ground)
        except (ConfigError, ToolError) as error:
            reason = f"the turn cannot start: {error}"[:1000]
            return Given(TurnCancelled(reason=reason), by="router", turn=session.queue[0])


async def _run(beside: bool, make: Callable[[], list[Event]]) -> list[Event]:
    """What `make` makes, in the loop or in a thread beside it."""
    return await asyncio.to_thread(make) if beside else make()


def _position(machine: SessionMachine, decision: Decision, made: Sequence[Event]) -> int:
    """The position that the decision led to: of its command's own event, where it has one."""
    if not made:
        return decision.position or machine.session.position
    commanded = [event.position for event in made if event.command is not None]
    return commanded[-1] if commanded else made[-1].position


def _answer(job: _Job, result: tuple[Decision, int]) -> None:
    if job.answer is not None and not job.answer.done():
        job.answer.set_result(result)
