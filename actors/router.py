"""The router: the one writer of its partitions. Commands and outcomes come in, commits go out."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from pydantic import ValidationError

from actors import scripts, subjects
from actors.accounts import Accounts
from actors.bus import Bus, Msg
from actors.calls import HEARTBEAT, Calls, Ensure, Key
from actors.conductor import Conductor, Surroundings
from actors.deciding import decide, explain
from actors.facts import FACTS, MODELS
from actors.grounds import Grounds
from actors.messages import (
    COMMAND,
    Accepted,
    AnyCommand,
    CreateSession,
    Outcome,
    PostTurn,
    Problem,
    Receipt,
    Reconfigure,
    Reply,
    RetryTurn,
    RunCommand,
)
from actors.notices import write_notice
from actors.paying import Paying
from actors.presets import Presets
from actors.problem import problem
from actors.receiving import fail, never_sent, receive
from actors.running import decide_call
from events.config import SessionConfig
from events.envelope import Event
from events.errors import ControlRoomError, StoreError
from events.partitions import PARTITIONS
from events.session import Session
from events.store import BlobStore, EventStore
from events.values import Blob

_log = logging.getLogger(__name__)

KEPT = 1000
"""Sessions kept in memory when nothing goes on in them."""


class RouterActor:
    """Owns some partitions: decides every command of their sessions, and alone appends to them.

    An answer to a command means that it is committed. An outcome is committed once; its repetitions
    are told so. After a start, every turn that the log has open goes on.
    """

    def __init__(
        self,
        bus: Bus,
        store: EventStore,
        blobs: BlobStore,
        *,
        grounds: Grounds,
        ensure: Ensure,
        run_key: bytes | None = None,
        partitions: Iterable[int] = range(PARTITIONS),
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._bus = bus
        self._store = store
        self._grounds = grounds
        self._partitions = frozenset(partitions)
        self._calls = Calls(
            bus,
            ensure,
            silent=self._silent,
            unservable=self._unservable,
            unsent=self._unsent,
            heartbeat=heartbeat,
        )
        self._accounts = Accounts(store, self._announce)
        self._presets = Presets(store, self._announce)
        self._paying = Paying(bus)
        self._around = Surroundings(
            bus=bus,
            store=store,
            blobs=blobs,
            calls=self._calls,
            paying=self._paying,
            run_key=run_key or secrets.token_bytes(32),
            load=self._load,
            scripts=lambda blob, entry: scripts.load(grounds.kept.get(blob), entry),
            ground=grounds.ground,
            ready=grounds.ready,
            prepared=self._prepared,
        )
        self._conductors: OrderedDict[str, Conductor] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Go on with every open turn, then take commands and outcomes."""
        await self._calls.start()
        await self._grounds.tools.listen(self._bus)
        await self._accounts.reconcile(self._owns)
        for head in await self._store.heads():
            if self._owns(head.stream) and head.open_turn is not None:
                self._conductor(head.stream).wake()
        everything = len(self._partitions) == PARTITIONS
        for part in ["*"] if everything else sorted(self._partitions):
            await self._bus.subscribe(subjects.commands(part), self._spawn(self._command))
            await self._bus.subscribe(subjects.outcomes(part), self._spawn(self._outcome))
            await self._bus.subscribe(subjects.account(part), self._spawn(self._accounts.serve))
            await self._bus.subscribe(subjects.presets(part), self._spawn(self._presets.serve))
            await self._bus.subscribe(subjects.ping(part), self._spawn(self._pong))
            await self._bus.subscribe(subjects.facts(part), self._spawn(self._facts))

    async def stop(self) -> None:
        """Stop; turns that are open go on with the next start."""
        await self._calls.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for conductor in self._conductors.values():
            await conductor.stop()
        await self._paying.stop()

    async def health(self) -> dict[str, Any]:
        """What the supervisor asks for."""
        return {"connected": self._bus.connected, "sessions": len(self._conductors)}

    # --- sessions --------------------------------------------------------------------------------

    def _owns(self, stream: str) -> bool:
        return subjects.partition(stream) in self._partitions

    def _conductor(self, stream: str) -> Conductor:
        conductor = self._conductors.get(stream)
        if conductor is None:
            self._evict()
            conductor = self._conductors[stream] = Conductor(stream, self._around)
        self._conductors.move_to_end(stream)
        return conductor

    def _evict(self) -> None:
        """Make room for one more session; those in which something goes on stay."""
        surplus = len(self._conductors) + 1 - KEPT
        if surplus > 0:
            idle = [name for name, one in self._conductors.items() if one.idle]
            for name in idle[:surplus]:
                del self._conductors[name]

    def _load(self, blob: Blob) -> str:
        return self._grounds.kept.get(blob).decode("utf-8", "surrogatepass")

    def _spawn(self, handle: Callable[[Msg], Coroutine[Any, Any, None]]) -> Callable[[Msg], None]:
        def start(msg: Msg) -> None:
            task = asyncio.create_task(handle(msg))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return start

    async def _facts(self, msg: Msg) -> None:
        """What turns of these models would stand on now."""
        try:
            models = MODELS.validate_json(msg.data)
        except ValidationError as error:
            _log.error("a request on %s cannot be read: %s", msg.subject, explain(error))
            return
        known = await asyncio.to_thread(self._grounds.models.told, models)
        await msg.respond(FACTS.dump_json(known))

    # --- commands --------------------------------------------------------------------------------

    async def _pong(self, msg: Msg) -> None:
        await msg.respond(b"{}")

    async def _command(self, msg: Msg) -> None:
        try:
            reply = Reply(accepted=await self._carry_out(COMMAND.validate_json(msg.data)))
        except ValidationError as error:
            reply = Reply(problem=Problem(status=422, error="ConfigError", message=explain(error)))
        except ControlRoomError as error:
            reply = Reply(problem=problem(error))
        except Exception:
            _log.exception("a command failed")
            message = "the room could not carry this out: see its log"
            reply = Reply(problem=Problem(status=500, error="InternalError", message=message))
        await msg.respond(reply)

    async def _carry_out(self, command: AnyCommand | RunCommand) -> Accepted:
        if isinstance(command, RunCommand):
            decided = partial(decide_call, command=command)
            decision, position = await self._conductor(command.session).submit(decided)
            return Accepted(
                session=command.session,
                position=position,
                turn=decision.turn,
                step=decision.step,
                matched=decision.matched,
                repeated=not decision.givens,
            )
        if isinstance(command, CreateSession) and isinstance(command.config, Blob):
            config = await asyncio.to_thread(self._config, command.config)
            command = command.model_copy(update={"config": config})
        decision, position = await self._conductor(command.session).submit(
            partial(
                decide, command=command, ground=self._grounds.ground, check=self._grounds.check
            ),
            reads=partial(self._reads, command),
        )
        return Accepted(
            session=command.session,
            position=position,
            turn=decision.turn,
            state=decision.state,
            repeated=not decision.givens,
        )

    async def _prepared(self, config: SessionConfig | None, within: float) -> None:
        await self._grounds.tools.wait(config, self._calls.ensure, within)

    def _config(self, blob: Blob) -> SessionConfig:
        return SessionConfig.model_validate_json(self._load(blob))

    def _reads(self, command: AnyCommand, session: Session) -> bool:
        """Whether deciding reads or writes files: of models that are new here, or of a script."""
        match command:
            case CreateSession() | Reconfigure():
                return True
            case PostTurn() | RetryTurn():
                return session.open is None and not self._grounds.ready(session.config)
            case _:
                return False

    # --- outcomes --------------------------------------------------------------------------------

    async def _outcome(self, msg: Msg) -> None:
        try:
            outcome = Outcome.model_validate_json(msg.data)
        except ValidationError as error:
            _log.error("an outcome on %s cannot be read: %s", msg.subject, explain(error))
            return
        if (news := outcome.learned) is not None:
            self._grounds.models.learn((news.provider, news.model), news.capabilities)
        try:
            decision, _ = await self._conductor(outcome.session).submit(
                partial(receive, outcome=outcome)
            )
        except StoreError as error:
            _log.warning("an outcome of %s was not committed: %s", outcome.session, error)
            return  # no receipt: the model's actor sends it again
        except Exception:
            _log.exception("an outcome of %s could not be taken", outcome.session)
            return
        counted = decision.state == "open"
        await msg.respond(Receipt(status="committed" if counted else "discarded"))
        if (question := outcome.elicited) is not None and counted:
            key = (outcome.session, outcome.turn, outcome.step)
            await self._conductor(outcome.session).answer_again(key, question.id)

    def _silent(self, key: Key, attempt: int) -> None:
        _log.warning("session %s: nothing is heard of %s in %s", key[0], key[2], key[1])
        self._conductor(key[0]).silent(key, attempt)

    async def _announce(self, events: Sequence[Event]) -> None:
        notice = write_notice(events)
        await self._bus.publish(subjects.committed(events[-1].stream), notice)

    def _unsent(self, key: Key, attempt: int) -> None:
        self._conductor(key[0]).tell(partial(never_sent, key=key, attempt=attempt))

    def _unservable(self, key: Key, attempt: int, error: ControlRoomError) -> None:
        self._conductor(key[0]).tell(partial(fail, key=key, attempt=attempt, error=error))
