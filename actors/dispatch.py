"""What follows from a commit of one session: the notice of it, questions, timers and chance."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial

from actors import returning, running, subjects
from actors.addresses import ModelAddress, ToolAddress, WorkflowAddress
from actors.bus import Bus
from actors.calls import Calls, Key
from actors.charging import Charging, Submit
from actors.deciding import Decide, Decision
from actors.long_texts import of_request
from actors.messages import Ask, CallTool, RunWorkflow
from actors.notices import write_notice
from actors.paying import Paying
from actors.receiving import never_sent
from actors.routing.batch import Given
from actors.routing.context import Said
from actors.routing.machine import SessionMachine
from actors.run_tokens import RunToken
from events.chat import WireMessage, written
from events.config import SessionConfig
from events.envelope import Event, now
from events.runs import (
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunRestarted,
    RunStarted,
)
from events.session import Session
from events.store import BlobStore
from events.tool_steps import ToolEvent
from events.tools import (
    ElicitationAnswered,
    ToolCalled,
    ToolCancelled,
    ToolFailed,
    ToolReturned,
)
from events.turns import Step
from events.types import (
    BudgetRequested,
    ChanceDrawn,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    SessionCreated,
    SessionReconfigured,
    TimerFired,
)
from events.values import SPILL, Blob

WIRE_LIMIT = 256 * 1024
"""Bytes of messages that an `Ask` carries itself; more go as a blob."""
RunEvent = RunStarted | RunRestarted | RunCompleted | RunFailed | RunCancelled
LONGEST_REFERENCE = 2048
"""Bytes of an attachment's reference, at most."""


class Dispatch:
    """Lets happen what the log of one session says, and only that.

    Inputs that come of it by themselves (a timer that fires, a drawn number) go to `tell`.
    """

    def __init__(
        self,
        stream: str,
        *,
        bus: Bus,
        blobs: BlobStore,
        calls: Calls,
        paying: Paying,
        run_key: bytes,
        tell: Callable[[Decide], None],
        submit: Submit,
    ) -> None:
        self._stream = stream
        self._bus = bus
        self._blobs = blobs
        self._calls = calls
        self._run_key = run_key
        self.charging = Charging(stream, paying, tell, submit, calls.alive)
        self._tell = tell
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def resume(self, machine: SessionMachine) -> None:
        """Go on where a restored log stands; calls that may be under way are listened for."""
        self.charging.settle_all(machine.session)
        turn = machine.session.open
        for key in machine.waiting if turn else ():
            step = turn.steps.get(key) if turn else None
            if turn and step and step.requested and not step.asked and not step.reservation:
                self.charging.request(turn.id, step)
            name = (self._stream, turn.id if turn else "", key)
            if step and step.asked:
                model = ModelAddress(step.asked.provider, step.asked.model)
                self._calls.listen(name, model, step.attempt)
            elif step and step.called:
                self._calls.listen(name, ToolAddress(step.called.server), step.attempt)
            elif step and step.run:
                self._calls.listen(name, WorkflowAddress(step.run.framework), step.attempt)
        self._wind_timers(machine)
        self._look_ahead(machine)

    async def after(self, machine: SessionMachine, events: Sequence[Event]) -> None:
        """Announce the commit of `events` and send what it holds."""
        await self._bus.publish(subjects.committed(self._stream), write_notice(events))
        for event in events:
            key = (self._stream, event.turn or "", event.step or "")
            if isinstance(event.data, ToolEvent | RunEvent):
                await self._beside(machine, key, event.data)
                continue
            match event.data:
                case SessionCreated(config=config) | SessionReconfigured(config=config):
                    self._warm(config)
                case ModelAsked() | ModelReasked():
                    await self._send(machine, event)
                case BudgetRequested():
                    self.charging.request(key[1], _step(machine, event))
                case ModelAnswered() | ModelFailed() as data:
                    self._calls.done(key)
                    unheard = isinstance(data, ModelFailed) and data.unheard
                    if unheard or _step(machine, event).attempt > 1:  # one may be under way
                        await self._calls.cancel(key)
                    if not unheard:
                        self.charging.settle(key[1], _step(machine, event), data.attempt, data.cost)
                    self.charging.over(key[1], _step(machine, event))
                case ModelDiscarded() as data:
                    self.charging.settle(key[1], _step(machine, event), data.attempt, data.cost)
                case ModelCancelled():
                    await self._calls.cancel(key)
                    if (step := _step(machine, event)).asked is None:
                        self.charging.settle(key[1], step, 1, None)
                    self.charging.over(key[1], step)
                case _:
                    pass
        self._wind_timers(machine)
        self._look_ahead(machine)

    def _warm(self, config: SessionConfig) -> None:
        """Have everybody started of whom the participants will want something."""
        for participant in config.models:
            self._calls.warm(ModelAddress(participant.provider, participant.model_name))
        for server in config.granted:
            self._calls.warm(ToolAddress(server))
        if config.workflow is not None:
            self._calls.warm(WorkflowAddress(config.workflow.framework))

    async def _beside(self, machine: SessionMachine, key: Key, data: ToolEvent | RunEvent) -> None:
        """Let happen what an event says that is not of a model's call."""
        if isinstance(data, ToolEvent):
            await self._tool(machine, key, data)
        else:
            await self._run(machine, key, data)

    async def _tool(self, machine: SessionMachine, key: Key, data: ToolEvent) -> None:
        """Let happen what an event of a tool's call says."""
        match data:
            case ToolCalled() if _waited(machine, key):
                request = CallTool(
                    session=self._stream,
                    turn=key[1],
                    step=key[2],
                    attempt=1,
                    reply=subjects.outcomes(subjects.partition(self._stream)),
                    server=data.server,
                    tool=data.tool,
                    arguments=data.use.arguments,
                )
                await self._calls.send(request)
            case ToolReturned() | ToolFailed():
                self._calls.done(key)
                if isinstance(data, ToolFailed) and data.unheard:  # it may be under way
                    await self._calls.cancel(key)
            case ToolCancelled():
                await self._calls.cancel(key)
            case ElicitationAnswered():
                await self._bus.publish(subjects.elicited(*key), data)

    async def _run(self, machine: SessionMachine, key: Key, data: RunEvent) -> None:
        """Let happen what an event of a workflow's run says."""
        match data:
            case RunStarted() | RunRestarted() if _waited(machine, key):
                turn = machine.session.turns[key[1]]
                step = turn.steps[key[2]]
                assert turn.config
                assert turn.message
                run = RunToken(self._stream, turn.id, step.attempt)
                request = RunWorkflow.of(
                    turn.config,
                    turn.message.content,
                    session=self._stream,
                    turn=turn.id,
                    step=key[2],
                    attempt=step.attempt,
                    reply=subjects.outcomes(subjects.partition(self._stream)),
                    token=run.signed(self._run_key),
                )
                await self._calls.send(request)
            case RunCompleted() | RunFailed():
                self._calls.done(key)
                if isinstance(data, RunFailed) and data.unheard:  # it may be under way
                    await self._calls.cancel(key)
            case RunCancelled():
                await self._calls.cancel(key)

    def silent(self, key: Key, attempt: int) -> None:
        """Nothing is heard of a call.

        A model is asked again, a workflow runs again, a tool's call is given up.
        """
        match self._calls.address(key):
            case ToolAddress():
                lost = returning.lost
            case WorkflowAddress():
                lost = running.lost
            case _:
                self.charging.silent(key, attempt)
                return

        def decide(session: Session) -> Decision:
            heard = self._calls.alive(key, attempt)
            return Decision() if heard else lost(session, key=key, attempt=attempt)

        self._tell(decide)

    async def answer_again(self, machine: SessionMachine, key: Key, id: str) -> None:
        """A tool still waits for an answer that the person may have given."""
        turn = machine.session.turns.get(key[1])
        step = turn.steps.get(key[2]) if turn else None
        if step is not None and (answered := step.answered.get(id)) is not None:
            await self._bus.publish(subjects.elicited(*key), answered)

    def rest(self) -> None:
        """Let no timer run; the log has them all."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _send(self, machine: SessionMachine, event: Event) -> None:
        key = (self._stream, event.turn or "", event.step or "")
        if not _waited(machine, key):
            attempt = event.data.attempt if isinstance(event.data, ModelReasked) else 1
            self._tell(partial(never_sent, key=key, attempt=attempt))
            return
        turn = machine.session.open
        assert turn
        assert turn.config
        assert event.step
        if of_request(machine.session, event.data):
            asked, said = await asyncio.to_thread(machine.request, event.step)
        else:
            asked, said = machine.request(event.step)
        participant = turn.config.participant(asked.participant)
        messages: tuple[WireMessage, ...] | Blob
        messages = tuple(_on_the_wire(one) for one in said)
        if sum(map(_size, said)) > SPILL:
            content = written(messages)
            if len(content) > WIRE_LIMIT:
                messages = await asyncio.to_thread(self._blobs.put, content, "application/json")
        ask = Ask.model_construct(
            session=self._stream,
            turn=turn.id,
            step=event.step,
            attempt=turn.steps[event.step].attempt,
            reply=subjects.outcomes(subjects.partition(self._stream)),
            model=asked.model,
            provider=asked.provider,
            role=participant.role if participant else None,
            purpose=asked.purpose,
            messages=messages,
            parameters=asked.parameters,
            chat_template=participant.chat_template if participant else None,
            tools=asked.tools,
            tool_choice=asked.tool_choice,
        )
        await self._calls.send(ask)

    def _wind_timers(self, machine: SessionMachine) -> None:
        """Let exactly those timers of the log run that do not stand still."""
        turn = machine.session.open
        running = {
            (turn.id, key): timer
            for key, timer in machine.timers.items()
            if turn is not None and timer.armed_at is not None
        }
        for name in [name for name in self._timers if name not in running]:
            self._timers.pop(name).cancel()
        loop = asyncio.get_running_loop()
        for name, timer in running.items():
            if name not in self._timers:
                left = timer.remaining(now())
                self._timers[name] = loop.call_later(left, self._fire, *name)

    def _fire(self, turn: str, key: str) -> None:
        self._timers.pop((turn, key), None)
        given = Given(TimerFired(), by="clock", turn=turn, step=key)

        def decide(session: Session) -> Decision:
            running = session.open if session.status == "active" else None
            timer = running.timers.get(key) if running and running.id == turn else None
            return Decision((given,)) if timer and timer.armed_at else Decision()

        self._tell(decide)

    def _look_ahead(self, machine: SessionMachine) -> None:
        """Draw the chance that is waited for."""
        turn = machine.session.open
        for key in machine.draws if turn else ():
            assert turn
            given = Given(
                ChanceDrawn(value=secrets.randbelow(2**53)), by="chance", turn=turn.id, step=key
            )
            self._tell(partial(_draw, given=given))


def _waited(machine: SessionMachine, key: Key) -> bool:
    """Whether somebody waits for that call.

    It may have been cancelled in its own batch, which may have started another turn that waits for
    a step of that key.
    """
    turn = machine.session.open
    return turn is not None and turn.id == key[1] and key[2] in machine.waiting


def _on_the_wire(one: Said) -> WireMessage:
    return WireMessage(
        role=one.role,
        content=one.text,
        images=one.images,
        tool_calls=one.tool_calls,
        tool_call_id=one.tool_call_id,
        is_error=one.is_error,
        carried=one.carried,
        name=one.name,
    )


def _size(one: Said) -> int:
    """About the characters of a message."""
    calls = sum(len(call.id) + len(call.name) + len(call.arguments) for call in one.tool_calls)
    carried = len(one.carried) if isinstance(one.carried, str) else 0
    return len(one.text) + calls + carried + LONGEST_REFERENCE * len(one.images)


def _draw(session: Session, given: Given) -> Decision:
    """Draw once: not where the turn is over, or where the log has the draw already."""
    turn = session.open
    if turn is None or turn.id != given.turn or given.step in turn.steps:
        return Decision()
    return Decision((given,))


def _step(machine: SessionMachine, event: Event) -> Step:
    return machine.session.turns[event.turn or ""].steps[event.step or ""]
