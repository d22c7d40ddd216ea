"""A turn run through without any model: whom its router would ask, and what it would show them.

The session's own router runs in the session machine, over the conversation as it is. Every answer
is made up: only its length counts. Nobody fails; plans and ballots are good ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from typing import Any

import orjson

from actors.routing import context, spending
from actors.routing.batch import Given
from actors.routing.machine import ENGINE, PARSERS, SessionMachine
from actors.routing.registry import CURRENT
from events.config import SessionConfig
from events.envelope import Event
from events.errors import Refused
from events.session import Session
from events.turns import shown_size
from events.types import (
    Input,
    ModelAnswered,
    ModelAsked,
    SessionCreated,
    SessionReconfigured,
    SessionResumed,
    TurnCancelled,
    TurnStarted,
)
from events.values import Blob, Message, Semantics, Text, Usage

Length = Callable[[ModelAsked], int | None]
"""Bytes of the answer to a question; None where nothing bounds it."""

_AT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """What a participant would be asked.

    `characters` are those of all text that is sent, beside `images`. All of it has at most so many
    `tokens`; None where an answer without bound is among it.
    """

    asked: ModelAsked
    images: int
    characters: int
    tokens: int | None


class DryRun:
    """One turn of a session that has these events, or that begins with this configuration.

    Where a turn is open, it is taken as if it ended now. A script is not run: everyone is asked
    once instead. `facts` are those of a turn, by participant: whether the model takes a schema and
    images, and its context length, to which a conversation is trimmed. `everyone` has a coordinator
    name itself too. Raises `Refused` for a session that is closed.
    """

    def __init__(
        self,
        begin: SessionConfig | Sequence[Event],
        message: Message,
        load: context.Load,
        *,
        length: Length,
        facts: Mapping[str, Mapping[str, Any]],
        everyone: bool = False,
    ) -> None:
        self._load = load
        self._length = length
        self._everyone = everyone
        self._made: dict[str, str] = {}
        self._unbounded: set[str] = set()
        self._numbers = count(1)
        self._turn = ""
        name = begin.session_id if isinstance(begin, SessionConfig) else begin[0].stream
        self._machine = SessionMachine(name, self._text)
        if isinstance(begin, SessionConfig):
            self._give(SessionCreated(config=begin))
        else:
            for event in begin:
                self.session.apply(event)
        assert self.session.config
        self.config = self.session.config
        """As it is, or would be."""
        self.questions = tuple(self._run(message, facts))

    @property
    def session(self) -> Session:
        """The session with the turn in it; its ledger is that of the log."""
        return self._machine.session

    # --- the turn ------------------------------------------------------------------------------

    def _run(self, message: Message, facts: Mapping[str, Mapping[str, Any]]) -> list[Question]:
        session = self.session
        if session.status == "closed":
            raise Refused(f"session {session.stream} is closed: it takes no further message")
        if session.open is not None:
            self._turn = session.open.id
            self._give(TurnCancelled())
        if session.status == "paused":
            self._give(SessionResumed())
        config = _unlimited(self.config)
        self._give(SessionReconfigured(config=config))
        self._turn = next(id for n in self._numbers if (id := f"dry-run-{n}") not in session.turns)
        versions = Semantics(
            engine=ENGINE,
            router=CURRENT[config.routing_pattern],
            context=context.VERSION,
            parsers=PARSERS,
        )
        self._give(
            TurnStarted(
                message=message,
                facts=self._blob(orjson.dumps(facts).decode()),
                semantics=versions,
            )
        )
        questions = []
        while self._machine.waiting and session.open is not None:
            key = self._machine.waiting[0]
            asked = session.open.steps[key].asked
            assert asked, "the routers that come along wait for models alone"
            questions.append(self._question(asked))
            answer = ModelAnswered(
                attempt=1,
                text=self._answer(asked),
                finish_reason="stop",
                usage=Usage(),
                duration_ms=0,
            )
            self._give(answer, key)
        return questions

    def _give(self, data: Input, step: str | None = None) -> None:
        turn = self._turn or None
        self._machine.advance(Given(data, "dry run", turn=turn, step=step), _AT)

    def _question(self, asked: ModelAsked) -> Question:
        assert self.session.open
        parts = context.parts(self.session, self.session.open, asked)
        texts: list[Text] = [part.label for part in parts]
        texts += [part.content for part in parts]
        if asked.parameters.schema_ is not None:
            texts.append(orjson.dumps(asked.parameters.schema_).decode())
        files = sum(shown_size(part.attachments) for part in parts)
        unbounded = any(isinstance(one, Blob) and one.sha256 in self._unbounded for one in texts)
        return Question(
            asked,
            images=sum(len(part.images) for part in parts),
            characters=files
            + sum(one.size if isinstance(one, Blob) else len(one) for one in texts),
            tokens=None if unbounded else spending.sent(parts, asked),
        )

    # --- what is made up -----------------------------------------------------------------------

    def _answer(self, asked: ModelAsked) -> Text:
        others = [one.id for one in self.config.models if one.id != asked.participant]
        if asked.purpose == "plan":
            named = [asked.participant, *others] if self._everyone or not others else others
            return orjson.dumps({"participants": named, "reason": ""}).decode()
        if asked.purpose == "vote":
            return orjson.dumps({"choice": others[0], "reason": ""}).decode()
        length = self._length(asked)
        blob = self._blob("", length or 0)
        if length is None:
            self._unbounded.add(blob.sha256)
        return blob

    def _blob(self, text: str, size: int | None = None) -> Blob:
        """A reference that no other text has, of so many bytes."""
        name = sha256(f"dry run {next(self._numbers)}".encode()).hexdigest()
        self._made[name] = text
        return Blob(sha256=name, size=len(text) if size is None else size)

    def _text(self, blob: Blob) -> str:
        made = self._made.get(blob.sha256)
        return self._load(blob) if made is None else made


def _unlimited(config: SessionConfig) -> SessionConfig:
    """The same session where no budget stops a step, and no script runs."""
    changes: dict[str, Any] = {
        "budget": None,
        "models": tuple(one.model_copy(update={"budget": None}) for one in config.models),
    }
    if config.routing_pattern == "script":
        changes["routing_pattern"] = "broadcast"
    return config.model_copy(update=changes)
