"""What a participant is shown: pure functions of the session's state and a context rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from actors.routing import chain
from events import chat
from events.config import Participant, SessionConfig
from events.session import Session
from events.turns import Entry, Turn, shown_size
from events.types import ModelAsked
from events.values import Attachment, Blob, ContextRule, Text, ToolCall

VERSION = 3
"""Version of what is built here, and of its digest; another text or order is a new version.

1: the whole conversation. 2: what a model cannot read is trimmed (see `trimming`), and messages
have attachments. 3: a model that is known to take no images is told of them instead.
"""
VERSIONS = (1, 2, 3)
"""The versions that are still built, so that what they decided replays."""

Role = Literal["system", "user", "assistant", "tool"]

Load = Callable[[Blob], str]
"""Reads a long text by its reference."""


@dataclass(frozen=True, slots=True)
class Part:
    """One utterance of a request. `label` stands before the text of other participants.

    Where it is `blind`, a note stands for each image. What a tool gave names the call by its id,
    is shown to at most `longest` characters, and has `others` that are only told of; `given` is a
    whole conversation that a client brought, in place of a text.
    """

    role: Role
    label: str
    content: Text
    attachments: tuple[Attachment, ...] = ()
    blind: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    carried: Text | None = None
    tool_call_id: str | None = None
    is_error: bool = False
    others: tuple[Attachment, ...] = ()
    longest: int = chain.LONGEST_RESULT
    given: Blob | None = None

    @property
    def images(self) -> tuple[Attachment, ...]:
        """The pictures that are shown."""
        return () if self.blind else tuple(one for one in self.attachments if one.is_image)

    @property
    def size(self) -> int:
        """Bytes, at most, of all that is shown of it but the pictures."""
        if self.given is not None:
            return self.given.size + shown_size(self.attachments)
        if self.role == "tool":
            return chain.result_size(self.content, self.attachments, self.others, self.longest)
        text = chain.answer_size(self.content, self.tool_calls, self.carried)
        return len(self.label.encode()) + text + shown_size(self.attachments)


class Said(NamedTuple):
    """A chat message, the pictures that go with it, and calls of tools or what one gave."""

    role: Role
    text: str
    images: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    carried: Text | None = None
    tool_call_id: str | None = None
    is_error: bool = False
    name: str | None = None


def parts(session: Session, turn: Turn, asked: ModelAsked) -> list[Part]:
    """What the participant is shown under the rule: system prompt, conversation, instruction.

    Where the step continues another, the calls of tools come last, with what came of them.
    """
    config, rule = turn.config, asked.context
    assert config
    participant = config.participant(asked.participant)
    assert participant
    blind = asked.images_left_out > 0
    if asked.given is None:
        entries = shown(session, participant.id, rule, turn.id)
        built = [_part(entry, participant.id, blind) for entry in entries]
    else:
        built = [Part("user", "", "", given=asked.given)]
    if system := system_prompt(config, participant, rule.mode):
        built.insert(0, Part("system", "", system))
    if asked.instruction:
        built.append(Part("user", "", asked.instruction))
    for one in chain.rounds(turn, asked.continues, (asked.provider, asked.model)):
        built.append(Part("assistant", "", one.text, tool_calls=one.calls, carried=one.carried))
        built += (
            Part(
                "tool",
                chain.ERROR if told.is_error else "",
                told.text,
                told.pictures,
                blind,
                tool_call_id=told.id,
                is_error=told.is_error,
                others=told.others,
                longest=asked.result_limit or chain.LONGEST_RESULT,
            )
            for told in one.told
        )
    return built


def _part(entry: Entry, participant: str, blind: bool) -> Part:
    """An utterance of the conversation as `participant` is shown it."""
    if entry.participant == participant:
        return Part("assistant", "", entry.content)
    label = f"[{entry.label}]: " if entry.participant else ""
    return Part("user", label, entry.content, entry.attachments, blind, given=entry.given)


def messages(asked_parts: list[Part], load: Load) -> list[Said]:
    """The request as chat messages.

    Neighbours of one role are joined, because many models refuse two of a role in a row; where they
    are of several names, each name stands before what it says. What a
    client's own system messages say comes after the participant's prompt.
    """
    joined: list[Said] = []
    for one in asked_parts:
        if one.given is None:
            _join(joined, _said(one, load))
            continue
        for said in _given(one.given, one.blind, load):
            if said.role != "system":
                _join(joined, said)
            elif joined and joined[0].role == "system":
                joined[0] = Said("system", f"{joined[0].text}\n\n{said.text}")
            else:
                joined.insert(0, said)
    return joined


def _join(joined: list[Said], said: Said) -> None:
    """Add what is said."""
    before = joined[-1] if joined else None
    if before is None or before.role != said.role or _apart(before, said):
        joined.append(said)
        return
    if before.name != said.name:
        before = before._replace(text=chat.named(before.name, before.text), name=None)
        said = said._replace(text=chat.named(said.name, said.text), name=None)
    text = before.text
    if said.text or not said.tool_calls:
        text = f"{text}\n\n{said.text}"
    joined[-1] = said._replace(text=text, images=before.images + said.images)


def _apart(before: Said, said: Said) -> bool:
    """Whether that is of one role, and no text that could go on."""
    return said.role == "tool" or bool(before.tool_calls) or said.carried is not None


def _said(part: Part, load: Load) -> Said:
    text = load(part.content) if isinstance(part.content, Blob) else part.content
    if part.role == "tool":
        text = chain.cut(text, part.longest)
    files = (attached(each, load, part.blind) for each in part.attachments)
    notes = map(chain.not_shown, part.others)
    return Said(
        part.role,
        "\n\n".join(filter(None, (part.label + text, *files, *notes))),
        part.images,
        part.tool_calls,
        part.carried,
        part.tool_call_id,
        part.is_error,
    )


def _given(given: Blob, blind: bool, load: Load) -> Iterator[Said]:
    """The messages that a client brought, as it wrote them."""
    for one in chat.read(load(given)):
        text = load(one.content) if isinstance(one.content, Blob) else one.content
        images = one.images
        if blind:
            notes = (attached(image, load, blind) for image in images)
            text, images = "\n\n".join(filter(None, (text, *notes))), ()
        yield Said(
            one.role,
            text,
            images,
            one.tool_calls,
            None,
            one.tool_call_id,
            one.is_error,
            one.name,
        )


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
