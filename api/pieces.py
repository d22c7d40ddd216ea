"""The pieces of answers that are being written: their order, their gaps, and who may see them yet.

What a tool tells of its progress is such pieces too. A piece is shown when its step's `model.asked`
or `tool.called` has been, and not after the step's outcome. Pieces of one channel of one attempt
follow each other by `seq`, the offset of their first character, so repetitions are recognised, and
so is a gap, which is filled from the DELTAS stream.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import orjson

from api.shown import Committed
from events.envelope import Event
from events.tools import ToolCalled, ToolCancelled, ToolFailed, ToolReturned
from events.types import (
    TURN_ENDS,
    ModelAnswered,
    ModelAsked,
    ModelCancelled,
    ModelFailed,
    TurnStarted,
)

StepKey = tuple[str, str]
"""Turn and step."""

MOST_KEPT = 8 * 1024 * 1024  # characters of JSON, of all open steps of a session
MOST_HELD = 1024 * 1024  # the same, of steps whose `model.asked` has not been seen
ENDED_KEPT = 1000  # steps

_BEGINS = frozenset(kind.type for kind in (ModelAsked, ToolCalled))
_OUTCOMES = frozenset(
    kind.type
    for kind in (
        ModelAnswered,
        ModelFailed,
        ModelCancelled,
        ToolReturned,
        ToolFailed,
        ToolCancelled,
    )
)
_ENDS = frozenset(kind.type for kind in TURN_ENDS)


@dataclass(slots=True)
class OpenStep:
    """A step that waits for its outcome, and all its pieces so far.

    `asked_at` is the position of its `model.asked`. `pieces` is None where they are too many to
    keep for those who come later.
    """

    asked_at: int
    pieces: list[str] | None = field(default_factory=list)


class Pieces:
    """The open steps of one session."""

    def __init__(self) -> None:
        self.open: dict[StepKey, OpenStep] = {}
        self._held: OrderedDict[StepKey, list[str]] = OrderedDict()
        self._ended: OrderedDict[StepKey, None] = OrderedDict()
        self._next: dict[tuple[StepKey, int, str], int] = {}
        self._kept = 0
        self._held_size = 0

    # --- events ----------------------------------------------------------------------------------

    def apply(self, event: Event | Committed) -> list[str]:
        """Take note of an event; returns the pieces that may be shown now, after it."""
        key = (event.turn or "", event.step or "")
        kind = event.type
        if kind in _BEGINS:
            self.open[key] = OpenStep(event.position)
            held = self._unhold(key)
            for piece in held:
                self._keep(key, piece)
            return held
        if kind in _OUTCOMES:
            self._end(key)
        elif kind == TurnStarted.type:
            # One turn is open at a time: what is held for another one will never be shown.
            for other in [key for key in self._held if key[0] != event.turn]:
                self._unhold(other)
        elif kind in _ENDS:
            for other in [key for key in (*self.open, *self._held) if key[0] == event.turn]:
                self._end(other)
        return []

    def _end(self, key: StepKey) -> None:
        step = self.open.pop(key, None)
        if step is not None and step.pieces:
            self._kept -= sum(map(len, step.pieces))
        self._unhold(key)
        for name in [name for name in self._next if name[0] == key]:
            del self._next[name]
        self._ended[key] = None
        while len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)

    # --- pieces ----------------------------------------------------------------------------------

    def take(self, key: StepKey, attempt: int, data: bytes, *, gaps: bool = False) -> str | None:
        """A piece that came: its text where it may be shown now, None where not (yet).

        Raises `Gap` where pieces before it are missing, unless `gaps` allows that.
        """
        if key in self._ended:
            return None
        piece = orjson.loads(data)
        seq, end = piece["seq"], piece["seq"] + len(piece["text"])
        name = (key, attempt, piece["channel"])
        expected = self._next.get(name, 0)
        if end <= expected:
            return None  # a repetition
        if seq > expected and not gaps:
            raise Gap(key)
        self._next[name] = end
        text = data.decode()
        if key in self.open:
            self._keep(key, text)
            return text
        self._hold(key, text)
        return None

    def _keep(self, key: StepKey, piece: str) -> None:
        step = self.open[key]
        if step.pieces is None:
            return
        step.pieces.append(piece)
        self._kept += len(piece)
        if self._kept > MOST_KEPT:
            self._kept -= sum(map(len, step.pieces))
            step.pieces = None

    def _hold(self, key: StepKey, piece: str) -> None:
        self._held.setdefault(key, []).append(piece)
        self._held_size += len(piece)
        while self._held_size > MOST_HELD and len(self._held) > 1:
            self._unhold(next(iter(self._held)))

    def _unhold(self, key: StepKey) -> list[str]:
        pieces = self._held.pop(key, [])
        self._held_size -= sum(map(len, pieces))
        return pieces


class Gap(Exception):
    """Pieces of the step are missing before the one that came."""

    def __init__(self, key: StepKey) -> None:
        super().__init__(key)
        self.key = key
