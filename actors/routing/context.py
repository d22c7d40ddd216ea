"""What a participant is shown: pure functions of the session's state and a context rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from events.config import Participant, SessionConfig
from events.session import Session
from events.turns import Entry, Turn
from events.types import ModelAsked
from events.values import Attachment, Blob, ContextRule, Text

VERSION = 3
"""Version of what is built here, and of its digest; another text or order is a new version.

1: the whole conversation. 2: what a model cannot read is trimmed (see `trimming`), and messages
have attachments. 3: a model that is known to take no images is told of them instead.
"""
VERSIONS = (1, 2, 3)
"""The versions that are still built, so that what they decided replays."""

Role = Literal["system", "user", "assistant"]

Load = Callable[[Blob], str]
"""Reads a long text by its reference."""


@dataclass(frozen=True, slots=True)
class Part:
    """One utterance of a request. `label` stands before the text of other participants.

    Where it is `blind`, a note stands for each image.
    """

    role: Role
    label: str
    content: Text
    attachments: tuple[Attachment, ...] = ()
    blind: bool = False

    @property
    def images(self) -> tuple[Attachment, ...]:
        """The pictures that are shown."""
        return () if self.blind else tuple(one for one in self.attachments if one.is_image)


class Said(NamedTuple):
    """A chat message, and the pictures that go with it."""

    role: Role
    text: str
    images: tuple[Attachment, ...]


def parts(session: Session, turn: Turn, asked: ModelAsked) -> list[Part]:
    """What the participant is shown under the rule: system prompt, conversation, instruction."""
    config, rule = turn.config, asked.context
    assert config
    participant = config.participant(asked.participant)
    assert participant
    blind = asked.images_left_out > 0
    built = [
        _part(entry, participant.id, blind)
        for entry in shown(session, participant.id, rule, turn.id)
    ]
    if system := system_prompt(config, participant, rule.mode):
        built.insert(0, Part("system", "", system))
    if asked.instruction:
        built.append(Part("user", "", asked.instruction))
    return built


def _part(entry: Entry, participant: str, blind: bool) -> Part:
    """An utterance of the conversation as `participant` is shown it."""
    if entry.participant == participant:
        return Part("assistant", "", entry.content)
    label = f"[{entry.label}]: " if entry.participant else ""
    return Part("user", label, entry.content, entry.attachments, blind)


def messages(asked_parts: list[Part], load: Load) -> list[Said]:
    """The request as chat messages.

    Neighbours of one role are joined, because many models refuse two of a role in a row.
    """
    joined: list[Said] = []
    for one in asked_parts:
        text = one.label + (load(one.content) if isinstance(one.content, Blob) else one.content)
        files = (attached(each, load, one.blind) for each in one.attachments)
        text = "\n\n".join(filter(None, (text, *files)))
        images = one.images
        if joined and joined[-1].role == one.role:
            before = joined[-1]
            joined[-1] = Said(one.role, f"{before.text}\n\n{text}", before.images + images)
        else:
            joined.append(Said(one.role, text, images))
    return joined


def attached(attachment: Attachment, load: Load, blind: bool) -> str:
    """What stands in the text for an attachment: a file's own text, or that there is an image."""
    if attachment.is_image and blind:
        return f"[Image left out: {attachment.name}; this model takes no images]"
    if attachment.is_image:
        return f"[Attached image: {attachment.name}]"
    text = load(attachment)
    return f"[Attached file: {attachment.name}]\n{text}\n[End of file: {attachment.name}]"


def system_prompt(config: SessionConfig, participant: Participant, mode: str) -> str:
    """The participant's own prompt, and who else is in the room where it hears them."""
    texts = [participant.system_prompt] if participant.system_prompt else []
    others = [other.label for other in config.models if other.id != participant.id]
    if others and mode == "shared":
        texts.append(
            f"You are {participant.label} in a conversation with a user and {', '.join(others)}. "
            "What the others said begins with their name in square brackets. Write your own answer "
            "without such a name."
        )
    return "\n\n".join(texts)


def shown(session: Session, participant: str, rule: ContextRule, turn: str) -> list[Entry]:
    """The entries that the rule lets through, in the order of the conversation."""
    asking = session.origin(turn)
    if rule.window is None:
        seen = [entry for entry in session.entries if visible(entry, participant, rule, asking)]
        return seen[rule.skip :] if rule.skip else seen
    last: list[Entry] = []
    for entry in reversed(session.entries):
        if visible(entry, participant, rule, asking):
            last.append(entry)
            if len(last) == rule.window:
                break
    return last[::-1][rule.skip :]


def visible(entry: Entry, participant: str, rule: ContextRule, turn: str) -> bool:
    """Whether the rule of a step lets `entry` through to `participant`.

    `turn` is the one in which the step was first asked: its steps are those that `exclude` names.
    """
    if entry.position > rule.upto:
        return False
    if entry.superseded_at is not None and entry.superseded_at <= rule.upto:
        return False
    if entry.step in rule.exclude and entry.turn == turn:
        return False
    own = rule.mode == "isolated" and entry.participant == participant
    return entry.participant is None or rule.mode == "shared" or own
