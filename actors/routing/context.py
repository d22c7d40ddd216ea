"""What a participant is shown: pure functions of the session's state and a context rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from events.canonical import canonical_json

from events.config import Participant, SessionConfig
from events.session import Entry, Session, Turn, text_digest
from events.types import ModelAsked
from events.values import Blob, ContextRule, Text

VERSION = 1
"""Version of what these functions build; another text or order is a new version."""

Role = Literal["system", "user", "assistant"]

Load = Callable[[Blob], str]
"""Reads a long text by its reference."""


@dataclass(frozen=True, slots=True)
class Part:
    """One utterance of a request. `label` stands before the text of other participants."""

    role: Role
    label: str
    content: Text
    digest: str


def parts(session: Session, turn: Turn, asked: ModelAsked) -> list[Part]:
    """What the participant is shown under the rule: system prompt, conversation, instruction."""
    config, rule = turn.config, asked.context
    assert config
    participant = config.participant(asked.participant)
    assert participant
    built = []
    if system := _system(config, participant, rule):
        built.append(Part("system", "", system, text_digest(system)))
    shown = list(_shown(session, participant, rule, turn.id))
    for entry in shown[-rule.window :] if rule.window else shown:
        if entry.participant == participant.id:
            built.append(Part("assistant", "", entry.content, entry.digest))
        else:
            label = f"[{entry.label}]: " if entry.participant else ""
            built.append(Part("user", label, entry.content, entry.digest))
    if asked.instruction is not None:
        built.append(Part("user", "", asked.instruction, text_digest(asked.instruction)))
    return built


def request_digest(asked_parts: list[Part], model: dict[str, Any]) -> str:
    """SHA-256 of the canonical request.

    That is the model and its parameters, and for each message its role, its label and the SHA-256
    of its text.
    """
    messages = [[part.role, part.label, part.digest] for part in asked_parts]
    return sha256(canonical_json({"model": model, "messages": messages})).hexdigest()


def request_model(participant: Participant, asked: ModelAsked) -> dict[str, Any]:
    """What a request is besides its messages, in the form that is digested."""
    return {
        "provider": asked.provider,
        "name": asked.model,
        "chat_template": participant.chat_template,
        "parameters": asked.parameters.model_dump(mode="json"),
    }


def messages(asked_parts: list[Part], load: Load) -> list[tuple[Role, str]]:
    """The request as chat messages.

    Neighbours of one role are joined, because many models refuse two of a role in a row.
    """
    joined: list[tuple[Role, str]] = []
    for part in asked_parts:
        text = load(part.content) if isinstance(part.content, Blob) else part.content
        text = part.label + text
        if joined and joined[-1][0] == part.role:
            joined[-1] = (part.role, f"{joined[-1][1]}\n\n{text}")
        else:
            joined.append((part.role, text))
    return joined


def _system(config: SessionConfig, participant: Participant, rule: ContextRule) -> str:
    """The participant's own prompt, and who else is in the room where it hears them."""
    texts = [participant.system_prompt] if participant.system_prompt else []
    others = [other.label for other in config.models if other.id != participant.id]
    if others and rule.mode == "shared":
        texts.append(
            f"You are {participant.label} in a conversation with a user and {', '.join(others)}. "
            "What the others said begins with their name in square brackets. Write your own answer "
            "without such a name."
        )
    return "\n\n".join(texts)


def _shown(
    session: Session, participant: Participant, rule: ContextRule, turn: str
) -> Iterator[Entry]:
    """The entries that the rule lets through, in the order of the conversation."""
    for entry in session.entries:
        if entry.position > rule.upto:
            continue
        if entry.superseded_at is not None and entry.superseded_at <= rule.upto:
            continue
        if entry.turn == turn and entry.step in rule.exclude:
            continue
        own = rule.mode == "isolated" and entry.participant == participant.id
        if entry.participant is None or rule.mode == "shared" or own:
            yield entry
