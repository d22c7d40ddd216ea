"""Builds the logs of sessions: the session machine writes them, from scripted inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

from actors.deciding import Ground, decide, next_turn
from actors.messages import (
    AnyCommand,
    CancelTurn,
    Close,
    CreateSession,
    Pause,
    PostTurn,
    Reconfigure,
    Resume,
    RetryTurn,
)
from actors.routing.batch import Given
from actors.routing.context import VERSION
from actors.routing.machine import ENGINE, Scripts, SessionMachine
from events.blobs import MemoryBlobs
from events.canonical import canonical_json
from events.config import SessionConfig
from events.envelope import Event
from events.store import BlobStore, EventStore
from events.tools import ApprovalGranted
from events.turns import Turn
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ChanceDrawn,
    Input,
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
    Retry,
    TimerFired,
    ToolFailed,
    ToolReturned,
)
from events.values import Attachment, Blob, Cost, Message, Semantics, Text, Usage

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(milliseconds=10)

Outcome = ModelAnswered | ModelFailed
Script = Callable[[str, ModelAsked], Outcome]
"""Gives the outcome of a step by its key."""


def session_config(
    id: str = "s1",
    pattern: str = "broadcast",
    participants: Iterable[str] = ("ada", "bob", "cyd"),
    **more: Any,
) -> SessionConfig:
    """A session of participants on the provider `acme`; the first one coordinates."""
    names = list(participants)
    models = [
        {"id": name, "provider": "acme", "model_name": f"{name}-1", "role": f"{name}'s role"}
        for name in names
    ]
    if pattern == "coordinator":
        more.setdefault("coordinator", names[0])
    return SessionConfig.model_validate(
        {"session_id": id, "routing_pattern": pattern, "models": models, **more}
    )


def answered(
    text: Text, *, usage: Usage | None = None, cost: str | None = None, **more: Any
) -> ModelAnswered:
    """An answer of 10 tokens in and 5 out, unless said otherwise; `cost` is in US dollars."""
    return ModelAnswered(
        attempt=more.pop("attempt", 1),
        text=text,
        finish_reason=more.pop("finish_reason", "stop"),
        usage=usage or Usage(input=10, output=5),
        cost=None if cost is None else Cost(amount=Decimal(cost), prices="list-1"),
        duration_ms=more.pop("duration_ms", 12.5),
        **more,
    )


def failed(message: str = "the provider is down", **more: Any) -> ModelFailed:
    """A failure after one try."""
    return ModelFailed(
        attempt=more.pop("attempt", 1),
        error=more.pop("error", "ProviderUnavailable"),
        message=message,
        retryable=more.pop("retryable", True),
        tries=1,
        **more,
    )


def reservation(
    kind: type[BudgetReserved | BudgetRefused], turn: Turn, key: str
) -> BudgetReserved | BudgetRefused:
    """What an account that has spent nothing decides on the request of that step."""
    requested = turn.steps[key].requested
    assert requested is not None
    return kind(
        account=requested.account,
        session="s1",
        turn=turn.id,
        step=key,
        attempt=1,
        amount=requested.amount,
        limit=requested.limit,
        spent=Decimal(0),
        held=Decimal(0),
    )


def polite(key: str, asked: ModelAsked) -> Outcome:
    """Everyone answers; plans name everyone and ballots the first candidate."""
    if asked.purpose in ("plan", "vote"):
        schema = asked.parameters.schema_ or {}
        properties = schema.get("properties", {})
        if asked.purpose == "plan":
            ids = properties.get("participants", {}).get("items", {}).get("enum", [])
            return answered(_json({"participants": ids, "reason": "all of them"}), cost="0.0001")
        choices = properties.get("choice", {}).get("enum", [""])
        return answered(_json({"choice": choices[0], "reason": "the clearest"}), cost="0.0001")
    return answered(f"{asked.participant} says so ({key})", cost="0.002")


def _json(tree: Any) -> str:
    return canonical_json(tree).decode()


class SessionLog:
    """One session's log. Every input is `TICK` later than the one before it.

    `batches` are the events as they would be appended; `events` are all of them.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        facts: Mapping[str, Any] | None = None,
        script: Blob | None = None,
        scripts: Scripts | None = None,
        blobs: BlobStore | None = None,
        begin: datetime = BEGIN,
    ) -> None:
        self.config = config
        self.stream = config.session_id
        self.batches: list[list[Event]] = []
        self.blobs: BlobStore = blobs or MemoryBlobs()
        self.machine = SessionMachine(self.stream, self.load, scripts)
        able = {model.id: {"structured_output": True} for model in config.models}
        self._facts = self.blobs.put(canonical_json(dict(facts or able)), "application/json")
        self._script = script
        self._begin = begin
        self._inputs = 0
        self._commands = count(1)
        self.command(CreateSession(config=config, **self._who()))

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]

    @property
    def waiting(self) -> tuple[str, ...]:
        """Keys of the open turn's steps that have no outcome."""
        return self.machine.waiting

    def load(self, blob: Blob) -> str:
        return self.blobs.get(blob).decode("utf-8", "surrogatepass")

    # --- commands ----------------------------------------------------------------------------

    def command(self, command: AnyCommand) -> str | None:
        """Carry out a command as the router would; returns the turn that it made or met."""
        decision = decide(self.machine.session, command, ground=self._ground, check=lambda *_: None)
        if decision.givens:
            self._append(decision.givens)
        return decision.turn

    def post(self, text: Text, attachments: tuple[Attachment, ...] = ()) -> str:
        """Post a message; returns the turn."""
        return self.post_message(Message(content=text, attachments=attachments))

    def post_message(self, message: Message) -> str:
        """Post any message; returns the turn."""
        turn = self.command(PostTurn(message=message, **self._who()))
        assert turn is not None
        return turn

    def retry(self, turn: str, participant: str) -> str:
        """Ask `participant` again; returns the new turn."""
        again = self.command(
            RetryTurn(retry=Retry(turn=turn, participant=participant), **self._who())
        )
        assert again is not None
        return again

    def reconfigure(self, **changes: Any) -> None:
        self.command(Reconfigure(changes=changes, **self._who()))

    def cancel(self, turn: str, reason: str = "") -> None:
        self.command(CancelTurn(turn=turn, reason=reason, **self._who()))

    def pause(self) -> None:
        self.command(Pause(**self._who()))

    def resume(self) -> None:
        self.command(Resume(**self._who()))

    def close(self) -> None:
        self.command(Close(**self._who()))

    def use_facts(self, facts: Mapping[str, Any]) -> None:
        """What later turns stand on."""
        self._facts = self.blobs.put(canonical_json(dict(facts)), "application/json")

    # --- outcomes ----------------------------------------------------------------------------

    def outcome(
        self,
        key: str,
        data: Outcome
        | ModelReasked
        | ModelDiscarded
        | BudgetReserved
        | BudgetRefused
        | ToolReturned
        | ToolFailed,
    ) -> None:
        """Record what became of step `key` of the open turn."""
        assert self.machine.session.open is not None
        self.give(data, self.machine.session.open.id, key)

    def give(self, data: Input, turn: str, step: str | None = None) -> None:
        """Record any input of a turn."""
        self._append([Given(data, "test", turn=turn, step=step)])

    def play(self, script: Script = polite, random: Random | None = None) -> None:
        """Give outcomes, in order or at random, until no turn is open or queued.

        Timers run out in their turn, and chance draws 7. A paused session stays as it is.
        """
        while self.machine.session.status == "active":
            if self.machine.session.open is None:
                started = next_turn(self.machine.session, self._ground)
                if started is None:
                    return
                self._append([started])
                continue
            keys = self.waiting
            self.play_step(keys[random.randrange(len(keys))] if random else keys[0], script)

    def play_step(self, key: str, script: Script = polite) -> None:
        """Give the outcome of one open step."""
        turn = self.machine.session.open
        assert turn is not None
        data: Input
        if key in self.machine.draws:
            data = ChanceDrawn(value=7)
        elif (asked := turn.steps[key].asked) is None and turn.steps[key].requested:
            data = reservation(BudgetReserved, turn, key)
        elif turn.steps[key].use is not None:
            waits = "" in turn.steps[key].questions
            done = ToolReturned(attempt=1, text=f"done ({key})", duration_ms=3.5)
            data = ApprovalGranted() if waits else done
        elif asked is None:
            data = TimerFired()
        else:
            data = script(key, asked)
        self.give(data, turn.id, key)

    # --- inside ------------------------------------------------------------------------------

    def _who(self) -> dict[str, Any]:
        return {"session": self.stream, "by": "user", "id": f"c{next(self._commands)}"}

    def _ground(self, config: SessionConfig, by: str, retry: bool) -> Ground:
        semantics = Semantics(
            engine=ENGINE, context=VERSION, script=None if retry else self._script
        )
        return Ground(self._facts, semantics)

    def _append(self, givens: Sequence[Given]) -> None:
        at = self._begin + self._inputs * TICK
        self._inputs += 1
        batch = [event for given in givens for event in self.machine.advance(given, at)]
        for content in self.machine.texts.made.values():
            self.blobs.put(content)
        self.machine.texts.made.clear()
        self.batches.append(batch)


async def append_all(
    store: EventStore, logs: Sequence[SessionLog], random: Random | None = None
) -> None:
    """Append the logs batch by batch: one after another, or interleaved at random."""
    left = [(log.stream, iter(log.batches)) for log in logs]
    while left:
        at = random.randrange(len(left)) if random else 0
        stream, batches = left[at]
        batch = next(batches, None)
        if batch is None:
            del left[at]
        else:
            await store.append(stream, batch[0].position - 1, batch)
