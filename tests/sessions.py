"""Sessions driven by hand through the machine: no actors, no store, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from actors.routing.batch import Given, compare
from actors.routing.context import VERSION
from actors.routing.digests import request_digest
from actors.routing.machine import ENGINE, Scripts, SessionMachine
from actors.routing.registry import CURRENT
from events.config import SessionConfig
from events.envelope import Event
from events.types import (
    ChanceDrawn,
    Input,
    ModelAnswered,
    ModelAsked,
    ModelFailed,
    Payload,
    Retry,
    SessionClosed,
    SessionCreated,
    SessionPaused,
    SessionReconfigured,
    SessionResumed,
    TimerFired,
    TurnCancelled,
    TurnQueued,
    TurnStarted,
)
from events.values import Attachment, Blob, Cost, Message, Semantics, Text, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)


def config(names: str | Sequence[str] = "abc", **changes: Any) -> SessionConfig:
    """A session of one participant for each name, in the roles `A`, `B`, ..."""
    models = [
        {"id": name, "provider": "test", "model_name": f"m-{name}", "role": name.upper()}
        for name in names
    ]
    return SessionConfig.model_validate({"session_id": "s1", "models": models} | changes)


class Blobs:
    """Long texts, by their hash."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, content: bytes, media_type: str = "text/plain; charset=utf-8") -> Blob:
        blob = Blob.of(content, media_type)
        self.contents[blob.sha256] = content
        return blob

    def attach(self, name: str, content: bytes, media_type: str = "text/plain") -> Attachment:
        """A file, stored, as a message names it."""
        blob = self.put(content, media_type)
        return Attachment(**dict(blob), name=name)

    def load(self, blob: Blob) -> str:
        return self.contents[blob.sha256].decode()


class Driven:
    """A session under a machine, the log that came of it, and the batches that it came in.

    Every input comes a second after the one before it.
    """

    def __init__(
        self,
        session: SessionConfig | None = None,
        *,
        facts: dict[str, Any] | None = None,
        scripts: Scripts | None = None,
        source: Blob | None = None,
        blobs: Blobs | None = None,
        engine: int = ENGINE,
        **changes: Any,
    ) -> None:
        self.blobs = blobs or Blobs()
        self.engine = engine
        self.scripts = scripts
        self.source = source
        self.facts = self.blobs.put(orjson.dumps(facts or {}), "application/json")
        session = session or config(**changes)
        self.stream = session.session_id
        self.machine = SessionMachine(self.stream, self.blobs.load, scripts)
        self.batches: list[list[Event]] = []
        self.at = START
        self.give(SessionCreated(config=session), by="user")

    # --- what happened ---------------------------------------------------------------------------

    @property
    def log(self) -> list[Event]:
        """All events, in order."""
        return [event for batch in self.batches for event in batch]

    @property
    def config(self) -> SessionConfig:
        """The configuration as it is now."""
        assert self.machine.session.config
        return self.machine.session.config

    @property
    def waiting(self) -> tuple[str, ...]:
        return self.machine.waiting

    def data(self, kind: type[Payload]) -> list[Any]:
        """What the events of a type say, in order."""
        return [event.data for event in self.log if isinstance(event.data, kind)]

    def last(self, kind: type[Payload]) -> Any:
        """What the last event of a type says."""
        return self.data(kind)[-1]

    def asked(self, step: str, turn: str | None = None) -> ModelAsked:
        """The event that asked, in a turn or in the latest that has such a step."""
        found = [
            event.data
            for event in self.log
            if isinstance(event.data, ModelAsked)
            and event.step == step
            and turn in {None, event.turn}
        ]
        return found[-1]

    def request(self, step: str) -> tuple[ModelAsked, list[tuple[str, str]]]:
        """A step of the open turn, with role and text of its messages as they are sent."""
        asked, messages = self.machine.request(step)
        return asked, [(one.role, one.text) for one in messages]

    # --- what happens ----------------------------------------------------------------------------

    def give(
        self, data: Input, *, by: str = "test", at: datetime | None = None, **where: Any
    ) -> str:
        """Advance by one input; returns what came of it, as one line of `told`."""
        batch = self.machine.advance(Given(data, by, **where), at or self.at)
        self.blobs.contents |= self.machine.texts.made
        self.machine.texts.made.clear()
        self.batches.append(batch)
        self.at = max(self.at, at or self.at) + timedelta(seconds=1)
        return told(batch)

    def post(self, text: Text = "Hello", *attachments: Attachment, turn: str | None = None) -> str:
        """A message: starts a turn, or queues it behind the open one."""
        session = self.machine.session
        turn = turn or f"t{session.turn_count + 1}"
        message = Message(content=text, attachments=attachments)
        if session.open or session.status == "paused":
            return self.give(TurnQueued(message=message), by="user", turn=turn)
        return self.start(turn, message)

    def start(
        self, turn: str, message: Message | None = None, *, retry: Retry | None = None
    ) -> str:
        """A turn starts: with its message, as a retry, or out of the queue."""
        semantics = Semantics(
            engine=self.engine,
            context=VERSION if self.engine == ENGINE else self.engine,
            router=CURRENT[self.config.routing_pattern],
            script=self.source if retry is None else None,
        )
        started = TurnStarted(message=message, retry=retry, facts=self.facts, semantics=semantics)
        return self.give(started, by="user", turn=turn)

    def retry(self, turn: str, participant: str) -> str:
        new = f"t{self.machine.session.turn_count + 1}"
        return self.start(new, retry=Retry(turn=turn, participant=participant))

    def answer(self, step: str, text: Text = "yes", *, turn: str | None = None, **rest: Any) -> str:
        return self.give(answered(text, **rest), by="model", turn=turn or self.turn, step=step)

    def fail(self, step: str, message: str = "it is down", *, turn: str | None = None) -> str:
        return self.give(failed(message), by="model", turn=turn or self.turn, step=step)

    def fire(self, step: str, *, turn: str | None = None) -> str:
        return self.give(TimerFired(), by="clock", turn=turn or self.turn, step=step)

    def draw(self, step: str, value: int) -> str:
        return self.give(ChanceDrawn(value=value), by="chance", turn=self.turn, step=step)

    def pause(self) -> str:
        return self.give(SessionPaused(), by="user")

    def resume(self) -> str:
        return self.give(SessionResumed(), by="user")

    def close(self) -> str:
        return self.give(SessionClosed(), by="user")

    def cancel(self, turn: str | None = None) -> str:
        return self.give(TurnCancelled(reason="enough"), by="user", turn=turn or self.turn)

    def reconfigure(self, **changes: Any) -> str:
        tree = self.config.model_dump(mode="json") | changes
        return self.give(SessionReconfigured(config=SessionConfig.model_validate(tree)), by="user")

    @property
    def turn(self) -> str:
        """The open turn."""
        assert self.machine.session.open
        return self.machine.session.open.id

    # --- the same once more ----------------------------------------------------------------------

    def restored(self, log: Sequence[Event] | None = None) -> SessionMachine:
        """A fresh machine, restored from the log."""
        machine = SessionMachine(self.stream, self.blobs.load, self.scripts)
        machine.restore(self.log if log is None else log)
        return machine

    def replay(self) -> SessionMachine:
        """Run the whole log through a fresh machine; raises where anything differs."""
        return replay(self.stream, self.log, self.blobs, self.scripts)

    def prove(self) -> None:
        """The log replays; a machine restored after any batch goes on as if nothing happened.

        And what was asked can be built again from the whole log, down to its digest.
        """
        self.replay()
        for event in self.log:
            if isinstance(event.data, ModelAsked):
                turn = self.machine.session.turns[event.turn or ""]
                rebuilt = request_digest(self.machine.session, turn, event.data)
                assert event.data.digest == rebuilt
        for count in range(len(self.batches) + 1):
            machine = self.restored([event for batch in self.batches[:count] for event in batch])
            for batch in self.batches[count:]:
                compare(batch, machine.advance(Given.of(batch[0]), batch[0].at))
            assert state(machine) == state(self.machine)


def state(machine: SessionMachine) -> dict[str, Any]:
    """All that a machine shows of itself."""
    session = vars(machine.session)
    shown: dict[str, Any] = {
        "waiting": machine.waiting,
        "draws": machine.draws,
        "timers": machine.timers,
    }
    turn = machine.session.open
    steps = [turn.steps[key] for key in machine.waiting if key.startswith("ask:")] if turn else []
    shown["requests"] = [machine.request(step.key) for step in steps if step.asked]
    return session | shown


def replay(
    stream: str, log: Sequence[Event], blobs: Blobs, scripts: Scripts | None = None
) -> SessionMachine:
    """Give a fresh machine the inputs of `log`, and compare all that it makes of them."""
    machine = SessionMachine(stream, blobs.load, scripts)
    index = 0
    while index < len(log):
        made = machine.advance(Given.of(log[index]), log[index].at)
        compare(log[index : index + len(made)], made)
        index += len(made)
    return machine


def answered(text: Text = "yes", **rest: Any) -> ModelAnswered:
    """A plain answer."""
    fields: dict[str, Any] = {
        "attempt": 1,
        "finish_reason": "stop",
        "usage": Usage(input=10, output=5),
        "cost": Cost(amount=Decimal("0.0015"), prices="test"),
        "duration_ms": 12.5,
    }
    return ModelAnswered.model_validate(fields | {"text": text} | rest)


def failed(message: str = "it is down", **rest: Any) -> ModelFailed:
    """A plain failure."""
    fields: dict[str, Any] = {
        "attempt": 1,
        "error": "ProviderUnavailable",
        "message": message,
        "retryable": True,
        "tries": 3,
    }
    return ModelFailed.model_validate(fields | rest)


def told(events: Iterable[Event]) -> str:
    """Events in one line, such as `turn.started model.asked(ask:a:1)`."""
    return " ".join(f"{e.type}({e.step})" if e.step else e.type for e in events)
