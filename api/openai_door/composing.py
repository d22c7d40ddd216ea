"""From what happens in a turn to what a client is shown meanwhile: pure.

A client sees one text grow. Where one participant speaks, that is its text; where all answer, it is
their answers one below the other, each under its name: the first to speak is shown as it speaks,
the others when it is done. Where the answer is only known at the end, what the participants say
comes as reasoning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from api.openai_door.backend import Said
from events.config import SessionConfig

Manner = Literal["one", "all", "last"]
BROKEN = "[broken off]"


def manner_of(config: SessionConfig) -> Manner:
    """How the answer of such a session comes about."""
    if config.routing_pattern in ("script", "workflow"):
        return "last"  # which may say anything
    alone = config.routing_pattern == "round_robin" and not config.rounds
    if len(config.models) == 1 or alone:
        return "one"
    return "all" if config.routing_pattern == "broadcast" else "last"


def section(label: str, text: str) -> str:
    """One of several answers, under the name of who gave it."""
    return f"**{label}**\n\n{text}"


@dataclass(slots=True)
class _Step:
    """A question to a participant, and how much of the answer is known and shown."""

    participant: str
    live: bool
    """Whether it is shown as it comes: nobody else speaks, or it is the answer of the turn."""
    attempt: int = 1
    text: str = ""
    shown: int = 0
    done: bool = False
    failed: bool = False


class Composer:
    """The text that a client sees grow; give it everything that happens in the turn.

    `text` is what was shown of the answer, `broken` is set where something was shown that turned
    out to be no part of it.
    """

    def __init__(self, config: SessionConfig) -> None:
        self._manner = manner_of(config)
        self._labels = {model.id: model.label for model in config.models}
        self._steps: dict[str, _Step] = {}
        self._speaker: str | None = None
        self._spoke: str | None = None
        """The participant of the last section."""
        self.text = ""
        self.broken = False

    def asked(self, key: str, payload: Mapping[str, Any]) -> None:
        """A participant is asked."""
        if payload.get("public", True):
            live = self._manner == "one" or payload["purpose"] == "synthesis"
            self._steps[key] = _Step(payload["participant"], live)

    def piece(self, key: str, attempt: int, channel: str, seq: int, text: str) -> Iterator[Said]:
        """A piece of an answer came."""
        step = self._steps.get(key)
        if step is None or step.done or attempt < step.attempt:
            return
        if channel == "reasoning" and self._manner == "one":
            yield Said("reasoning", text)
        if channel != "text":
            return
        if attempt > step.attempt:
            self._again(step, attempt)
        if seq <= len(step.text):
            step.text += text[len(step.text) - seq :]
            yield from self._flush()

    def reasked(self, key: str, attempt: int) -> None:
        """It was asked once more: what had come of it does not count."""
        step = self._steps.get(key)
        if step is not None and attempt > step.attempt:
            self._again(step, attempt)

    def answered(self, key: str, text: str) -> Iterator[Said]:
        """The whole answer of a step."""
        step = self._steps.get(key)
        if step is None or step.done:
            return
        if not text.startswith(step.text[: step.shown]):
            self.broken = True
            step.shown = min(step.shown, len(text))
        step.text, step.done = text, True
        yield from self._flush()

    def ended(self, key: str) -> Iterator[Said]:
        """A step failed, or is not wanted any more."""
        step = self._steps.get(key)
        if step is None or step.done:
            return
        step.done = step.failed = True
        if step.shown and step.live:
            self.broken = True
        yield from self._flush()

    def rest(self, answer: str) -> Iterator[Said]:
        """The turn has ended with that answer: what is still to be shown of it."""
        for step in self._steps.values():
            step.done = True
        yield from self._flush()
        if not self.text:
            if answer:
                yield self._say(answer)
        elif self._manner != "all":
            spoken = [step.text for step in self._steps.values() if step.live and step.shown]
            self.broken |= answer not in (self.text, *spoken[-1:])

    # --- inside ----------------------------------------------------------------------------------

    def _again(self, step: _Step, attempt: int) -> None:
        if step.shown and step.live:
            self.broken = True
        step.attempt, step.text, step.shown = attempt, "", 0

    def _flush(self) -> Iterator[Said]:
        """What may be shown now: of those that are live, and of whose turn it is to speak."""
        if self.broken:
            return
        for key, step in self._steps.items():
            if step.live:
                yield from self._show(step, "content")
                continue
            if self._speaker is None and step.shown < len(step.text):
                self._speaker = key
            if key == self._speaker:
                yield from self._show(step, "content" if self._manner == "all" else "reasoning")
                if step.done:
                    self._speaker = None
        if self._speaker is None and self._waiting():
            yield from self._flush()

    def _waiting(self) -> bool:
        return any(not step.live and step.shown < len(step.text) for step in self._steps.values())

    def _show(self, step: _Step, channel: Literal["content", "reasoning"]) -> Iterator[Said]:
        new = step.text[step.shown :]
        if new:
            begin = "" if step.shown else self._beginning(step)
            step.shown = len(step.text)
            yield self._say(begin + new, channel)
        if step.failed and step.shown and not step.live:
            step.failed = False
            yield self._say(f" {BROKEN}", channel)

    def _beginning(self, step: _Step) -> str:
        """What stands before the first words of a step."""
        if step.live:
            return "\n\n" if self.text else ""
        before, self._spoke = self._spoke, step.participant
        apart = "" if before is None else "\n\n"
        if before == step.participant:
            return apart
        return apart + section(self._labels.get(step.participant, step.participant), "")

    def _say(self, text: str, channel: Literal["content", "reasoning"] = "content") -> Said:
        if channel == "content":
            self.text += text
        return Said(channel, text)
