"""The calls of tools that led to a request: who asked for them, and what is told of each.

Pure functions of the turn's steps. A request that `continues` another is shown the calls of that
one's answer with what came of them, and so for the one before it, down to the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from actors.routing.tool_loop import TOLD
from events.tools import ApprovalDenied, ToolCancelled, ToolFailed, ToolRefused, ToolReturned
from events.turns import Step, ToolOutcome, Turn, shown_size, text_digest, text_size
from events.types import ModelAnswered, ModelAsked
from events.values import Attachment, Blob, Text, ToolCall

LONGEST_RESULT = 60_000
"""Characters that a model is shown of what a tool gave; the rest is left out, and that is said."""
SHORTER = (30_000, 15_000, 7500, 3750, 1875)
"""The same, the longest of which fits, for a model that cannot read as much."""
LEFT_OUT = "\n[{} more characters of the result are left out]"
ERROR = "Error: "
"""What stands before the text of a call that gave no result."""
NOTHING = "(the tool returned nothing)"
NOT_SHOWN = "[Not shown: {}, {}, {} bytes]"
"""What stands for content that is neither text nor a picture that models take."""
PICTURES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))

LONGEST_NAME = 64
"""Characters of a tool's name that every provider takes."""

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")


class Told(NamedTuple):
    """What is told of a call; its `id` is the one that the call has in the request.

    `pictures` are shown, of `others` only that they are there.
    """

    id: str
    text: Text
    is_error: bool = False
    pictures: tuple[Attachment, ...] = ()
    others: tuple[Attachment, ...] = ()


class Round(NamedTuple):
    """An answer that asks for calls, and what is told of each of them, in their order.

    The calls have names that every provider takes, and ids that differ within the whole chain: the
    model's own where it is asked again, else such as every provider takes. `carried` goes back to
    the model that gave the answer, and to no other.
    """

    text: Text
    calls: tuple[ToolCall, ...]
    told: tuple[Told, ...]
    carried: Text | None


class Size(NamedTuple):
    """What a chain adds to a request, at most: bytes of text, messages, pictures."""

    bytes: int = 0
    messages: int = 0
    images: int = 0


def rounds(turn: Turn, continues: str | None, model: tuple[str, str]) -> tuple[Round, ...]:
    """The rounds of calls before a request that continues that step, the first one first.

    `model` is the one that is asked now: its provider and name.
    """
    answers: list[tuple[str, ModelAsked, ModelAnswered]] = []
    while continues is not None:
        step = turn.steps[continues]
        assert step.asked
        assert isinstance(step.outcome, ModelAnswered)
        answers.append((continues, step.asked, step.outcome))
        continues = step.asked.continues
    ids: set[str] = set()
    found = []
    for key, asked, answer in reversed(answers):
        same = (asked.provider, asked.model) == model
        # They are emitted in the order of the calls, the last may be none.
        steps = iter(turn.calls_of(key))
        pairs = [(call, next(steps, None)) for call in answer.tool_calls[:TOLD]]
        calls = tuple(_sendable(call, step, ids, same) for call, step in pairs)
        told = tuple(_told(call.id, step) for call, (_, step) in zip(calls, pairs, strict=True))
        found.append(Round(answer.text, calls, told, answer.carried if same else None))
    return tuple(found)


def cut(text: str, longest: int = LONGEST_RESULT) -> str:
    """The text of a result, as far as a model is shown it."""
    more = len(text) - longest
    return text if more <= 0 else text[:longest] + LEFT_OUT.format(more)


def not_shown(file: Attachment) -> str:
    """What stands for content that no model is shown."""
    return NOT_SHOWN.format(file.name or "content", file.media_type, file.size)


def size(found: tuple[Round, ...], longest: int = LONGEST_RESULT) -> Size:
    """How much of a request these rounds are, with so many characters of each result."""
    told = [each for one in found for each in one.told]
    text = sum(answer_size(one.text, one.calls, one.carried) for one in found)
    text += sum(result_size(each.text, each.pictures, each.others, longest) for each in told)
    return Size(text, len(found) + len(told), sum(len(each.pictures) for each in told))


def answer_size(text: Text, calls: tuple[ToolCall, ...], carried: Text | None) -> int:
    """Bytes of an answer with calls; how a provider writes these down is within its messages."""
    asked = sum(len(one.id) + len(one.name.encode()) + text_size(one.arguments) for one in calls)
    return text_size(text) + asked + (text_size(carried) if carried else 0)


def result_size(
    text: Text,
    pictures: tuple[Attachment, ...],
    others: tuple[Attachment, ...],
    longest: int = LONGEST_RESULT,
) -> int:
    """Bytes, at most, that are shown of a result, without the pictures themselves."""
    notes = sum(len(not_shown(file).encode()) + 2 for file in others)
    if isinstance(text, Blob):
        shown = min(text.size, 4 * longest + len(LEFT_OUT) + 16)
    else:
        shown = text_size(cut(text, longest))
    return len(ERROR) + shown + shown_size(pictures) + notes


def lines(found: tuple[Round, ...]) -> bytes:
    """The rounds in a request's digest: a line for each answer, and one for each of its calls."""
    return b"".join(orjson.dumps(line) + b"\n" for one in found for line in _lines(one))


def _lines(one: Round) -> Iterator[list[object]]:
    calls = [(call.id, call.name, text_digest(call.arguments)) for call in one.calls]
    carried = [text_digest(one.carried)] if one.carried else []
    yield ["calls", text_digest(one.text), calls, *carried]
    for each in one.told:
        every = (*each.pictures, *each.others)
        files = [(file.name, file.media_type, file.sha256) for file in every]
        yield ["told", each.id, each.is_error, text_digest(each.text), *([files] if files else [])]


def _sendable(call: ToolCall, step: Step | None, ids: set[str], same: bool) -> ToolCall:
    id = step.use.call_id if same and step is not None and step.use is not None else ""
    number = len(ids)
    while not id or id in ids:
        number += 1
        id = f"call{number:05d}"  # which even those take who want nine letters and digits
    ids.add(id)
    name = _NO_NAME.sub("_", call.name)[:LONGEST_NAME] or "_"
    return ToolCall(id=id, name=name, arguments=call.arguments)


def _told(id: str, step: Step | None) -> Told:
    outcome = None if step is None else step.outcome
    if isinstance(outcome, ToolReturned):
        text = outcome.text or outcome.structured or ""
        if not text and not outcome.attachments:
            text = NOTHING
        pictures = tuple(one for one in outcome.attachments if one.media_type in PICTURES)
        others = tuple(one for one in outcome.attachments if one.media_type not in PICTURES)
        return Told(id, text, outcome.is_error, pictures, others)
    return Told(id, reason(outcome if isinstance(outcome, ToolOutcome) else None), True)


def reason(outcome: ToolOutcome | None) -> str:
    """Why a call gave no result, as the model is told it."""
    match outcome:
        case ToolFailed(message=message):
            return message
        case ToolRefused(reason=why):
            return why
        case ApprovalDenied(reason=why):
            return "a person did not allow this call" + (f": {why}" if why else "")
        case ToolCancelled():
            return "the call was called off"
        case _:
            return "the call was not made"
