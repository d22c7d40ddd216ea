"""Request digests: what a model is asked with, as one hash.

The digest is the SHA-256 (hexadecimal) over lines of canonical JSON (RFC 8785): one for each
utterance that is shown, `[participant or null, label, SHA-256 of its text]`, each ended by a line
feed, and then the frame of the request (see `frame`). The line of a message with attachments has a
fourth item, `[[name, media type, SHA-256], ...]`, and that of a conversation which a client brought
a fifth, its SHA-256. Before the frame come the calls of tools that led to the request (see
`chain.lines`).

A request holds the whole conversation, so that hashing each anew would cost more with every turn.
Therefore what earlier turns said is hashed once for all who see the same, and only what is new is
added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from actors.routing import chain, context
from events.canonical import canonical_json
from events.config import Participant
from events.session import Session
from events.turns import Entry, Turn, text_digest
from events.types import ModelAsked
from events.values import Blob, ContextRule, Parameters, Text


def frame(
    participant: Participant,
    model: tuple[str, str],
    parameters: Parameters,
    system: str,
    instruction: Text | None,
    *,
    blind: bool,
    tools: Blob | None = None,
    tool_choice: str | None = None,
    given: Blob | None = None,
    result_limit: int | None = None,
) -> bytes:
    """All of a request but the conversation, as canonical JSON; texts by their SHA-256.

    `model` is the provider and the name of the model that is asked. Where it is `blind`, notes
    stand for images.
    """
    noted: dict[str, Any] = {"images": False} if blind else {}
    if tools is not None:
        noted["tools"] = tools.sha256
    if given is not None:
        noted["given"] = given.sha256
    if result_limit is not None:
        noted["result_limit"] = result_limit
    if tool_choice is not None:
        noted["tool_choice"] = tool_choice
    return canonical_json(
        {
            "participant": participant.id,
            "provider": model[0],
            "name": model[1],
            "chat_template": participant.chat_template,
            "parameters": parameters.model_dump(mode="json"),
            "system": text_digest(system) if system else None,
            "instruction": text_digest(instruction) if instruction else None,
            **noted,
        }
    )


def request_digest(session: Session, turn: Turn, asked: ModelAsked) -> str:
    """The digest of what was asked, made anew from the log."""
    assert turn.config
    participant = turn.config.participant(asked.participant)
    assert participant
    rule = asked.context
    shown = context.shown(session, participant.id, rule, turn.id) if asked.given is None else []
    system = context.system_prompt(turn.config, participant, rule.mode)
    model = (asked.provider, asked.model)
    blind = asked.images_left_out > 0
    around = frame(
        participant,
        model,
        asked.parameters,
        system,
        asked.instruction,
        blind=blind,
        tools=asked.tools,
        tool_choice=asked.tool_choice,
        given=asked.given,
        result_limit=asked.result_limit,
    )
    called = chain.lines(chain.rounds(turn, asked.continues, model))
    return sha256(_lines(shown) + called + around).hexdigest()


@dataclass(slots=True)
class _Running:
    """The hash over those of the first `count` entries that are visible."""

    revision: int
    count: int = 0
    hash: Any = field(default_factory=sha256)


class Digests:
    """Gives the digests of the steps of one session's open turn."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running: dict[tuple[str, str], _Running] = {}

    def of(
        self, turn: Turn, participant: str, rule: ContextRule, around: bytes, *, given: bool = False
    ) -> str:
        """What `request_digest` would give for a step with that rule, or with `given` messages.

        `around` is its frame, behind the lines of the calls that led to it.
        """
        if given:
            return sha256(around).hexdigest()
        assert turn.started_at
        if rule.window is not None or rule.skip or rule.upto < turn.started_at:
            shown = context.shown(self._session, participant, rule, turn.id)
            return sha256(_lines(shown) + around).hexdigest()
        running = self._earlier(turn.started_at, participant, rule)
        request = running.hash.copy()
        news = self._session.entries[running.count :]
        shown = [entry for entry in news if context.visible(entry, participant, rule, turn.id)]
        request.update(_lines(shown) + around)
        digest: str = request.hexdigest()
        return digest

    def _earlier(self, started_at: int, participant: str, rule: ContextRule) -> _Running:
        """The hash over all that was said before the turn that started at this position.

        Nothing of it can be excluded, and what was superseded stays so.
        """
        key = (rule.mode, participant if rule.mode == "isolated" else "")
        running, entries = self._running.get(key), self._session.entries
        if running is None or running.revision != self._session.revision:
            running = self._running[key] = _Running(self._session.revision)
        if running.count < len(entries) and entries[running.count].position < started_at:
            shown = []
            for entry in entries[running.count :]:
                if entry.position >= started_at:
                    break
                running.count += 1
                if context.visible(entry, participant, rule, ""):
                    shown.append(entry)
            running.hash.update(_lines(shown))
        return running


def _lines(entries: Iterable[Entry]) -> bytes:
    # Of texts alone, what orjson writes is canonical.
    return b"".join(orjson.dumps(_line(entry)) + b"\n" for entry in entries)


def _line(entry: Entry) -> tuple[Any, ...]:
    said = (entry.participant, entry.label, entry.digest)
    if not entry.attachments and entry.given is None:
        return said
    files = [(one.name, one.media_type, one.sha256) for one in entry.attachments]
    return (*said, files) if entry.given is None else (*said, files, entry.given.sha256)
