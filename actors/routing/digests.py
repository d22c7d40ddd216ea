"""Request digests of one session, each made from what was digested before.

A request holds the whole conversation, so that digesting each anew would cost more with every
turn. The lines of `context.request_digest` come in the order of the conversation, therefore what
earlier turns said is hashed once for each participant, and only what is new is added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any

from actors.routing import context
from actors.routing.context import Part
from events.config import Participant
from events.session import Session, Turn
from events.values import ContextRule


@dataclass(slots=True)
class _Running:
    """The hash over the system prompt and the first `count` entries that the participant sees."""

    system: tuple[Part, ...]
    revision: int
    count: int = 0
    hash: Any = field(default_factory=sha256)


class Digests:
    """Gives what `context.request_digest` would give for the parts of a step."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running: dict[tuple[str, str], _Running] = {}

    def of(
        self,
        turn: Turn,
        participant: Participant,
        rule: ContextRule,
        *,
        system: tuple[Part, ...],
        instruction: tuple[Part, ...],
        model: bytes,
    ) -> str:
        """The digest of a request of the open turn."""
        assert turn.started_at
        id = participant.id
        if rule.window is not None or rule.upto < turn.started_at:
            entries = context.shown(self._session, id, rule, turn.id)
            conversation = (context.part(entry, id) for entry in entries)
            return context.request_digest((*system, *conversation, *instruction), model)
        running = self._earlier(turn.started_at, id, rule, system)
        request = running.hash.copy()
        for entry in islice(self._session.entries, running.count, None):
            if context.visible(entry, id, rule, turn.id):
                request.update(context.part(entry, id).line)
        for part in instruction:
            request.update(part.line)
        request.update(model)
        digest: str = request.hexdigest()
        return digest

    def _earlier(
        self, started_at: int, id: str, rule: ContextRule, system: tuple[Part, ...]
    ) -> _Running:
        """The hash over all that was said before the turn that started at this position.

        Nothing of it can be excluded, and what was superseded stays so.
        """
        key, entries = (id, rule.mode), self._session.entries
        running = self._running.get(key)
        if (
            running is None
            or running.revision != self._session.revision
            or running.system != system
        ):
            running = self._running[key] = _Running(system, self._session.revision)
            for part in system:
                running.hash.update(part.line)
        while running.count < len(entries) and entries[running.count].position < started_at:
            entry = entries[running.count]
            if context.visible(entry, id, rule, ""):
                running.hash.update(context.part(entry, id).line)
            running.count += 1
        return running
