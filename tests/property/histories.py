"""Whole sessions of generated programs: everything that can happen to one, in any order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
from hypothesis import strategies as st

from actors.routing.machine import Scripts
from actors.routing.registry import Route
from events.canonical import HeadChain
from events.envelope import Event
from events.tools import (
    ApprovalDenied,
    ApprovalGranted,
    ElicitationAnswered,
    ElicitationRequested,
)
from events.turns import DEADLINE, Turn
from events.types import Input, ModelAsked, ModelCancelled, ModelDiscarded, ModelReasked
from events.values import Blob, Text
from tests.property.programs import TOOLS, WITH_TOOLS, Node, parsed, programs, router, spelled
from tests.recorded import dumps, loads
from tests.sessions import Blobs, Driven, replay
from tests.tool_calls import broken, offered, returned, wants

ACTIONS = ("deliver",) * 12 + (
    "pause",
    "resume",
    "resume",
    "post",
    "post",
    "post",
    "cancel",
    "deadline",
    "late",
    "reask",
    "discard",
    "retry",
    "retry",
    "reconfigure",
    "close",
)

Action = tuple[str, int, int]

actions = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 99), st.integers(0, 99)),
    min_size=12,
    max_size=40,
)


@dataclass
class History:
    """A session whose script is `program`, and all that the actions made of it.

    An action that is not possible at its time is left out.
    """

    program: Node
    room: Driven

    @classmethod
    def of(cls, program: Node, chosen: list[Action]) -> History:
        """Carry out the actions one after the other."""
        blobs = Blobs()
        tools = offered(blobs, TOOLS, approve=TOOLS[1:])
        room = Driven(
            blobs=blobs,
            facts={name: {"tools": tools} for name in WITH_TOOLS},
            source=Blob.of(b"program"),
            scripts=always(router(program, lambda _: None)),
            routing_pattern="script",
            script="program:route",
            max_steps=40,
        )
        history = cls(program, room)
        history.room.post("Hello")
        for name, which, what in chosen:
            carry_out: Callable[[int, int], None] = getattr(history, f"_{name}")
            carry_out(which, what)
            history._start_next()
        return history

    @property
    def _open(self) -> Turn | None:
        return self.room.machine.session.open

    @property
    def _active(self) -> bool:
        return self.room.machine.session.status == "active"

    def _start_next(self) -> None:
        session = self.room.machine.session
        if self._open is None and session.queue and self._active:
            self.room.start(session.queue[0])

    def _deliver(self, which: int, what: int) -> None:
        if waiting := self.room.waiting:
            key = waiting[which % len(waiting)]
            kind = key.split(":")[0]
            if kind == "timer":
                self.room.fire(key)
            elif kind == "draw":
                self.room.draw(key, what)
            elif kind == "call":
                self._call(key, what)
            elif what % 4 == 0:
                self.room.fail(key, f"{key} failed")
            elif what % 5 in (2, 3):
                wanted = [(*TOOLS, "s__none")[(what + n) % 3] for n in range(1 + what % 3)]
                self.room.give(wants(*wanted), turn=self.room.turn, step=key)
            else:
                self.room.answer(key, self._text(what))

    def _call(self, key: str, what: int) -> None:
        """Decide, answer what the tool asked, have it ask, or give its outcome."""
        assert self._open
        step = self._open.steps[key]
        data: Input
        if "" in step.questions:
            data = ApprovalGranted() if what % 3 else ApprovalDenied(reason=f"no {what}")
        elif step.questions:
            data = ElicitationAnswered(id=step.questions[0], action="decline")
        elif what % 4 == 3:
            id = f"e{len(step.elicited)}"
            data = ElicitationRequested(attempt=1, id=id, message="Which?")
        else:
            data = broken() if what % 4 == 0 else returned(self._text(what))
        self.room.give(data, turn=self._open.id, step=key)

    def _text(self, what: int) -> Text:
        text = ("go", "stop", "yes")[what % 3]
        return self.room.blobs.put(text.encode()) if what % 5 == 0 else text

    def _pause(self, which: int, what: int) -> None:
        if self._active:
            self.room.pause()

    def _resume(self, which: int, what: int) -> None:
        if self.room.machine.session.status == "paused":
            self.room.resume()

    def _post(self, which: int, what: int) -> None:
        if self.room.machine.session.status != "closed":
            blobs = self.room.blobs
            files = (
                blobs.attach(f"{which}.png", b"a picture", "image/png"),
                blobs.attach(f"{which}.txt", b"a file"),
            )
            self.room.post(f"message {which}", *files[: what % 3])

    def _cancel(self, which: int, what: int) -> None:
        session = self.room.machine.session
        turns = [*session.queue, *([session.open.id] if session.open else [])]
        if turns:
            self.room.cancel(turns[which % len(turns)])

    def _deadline(self, which: int, what: int) -> None:
        due = self._open.timers[DEADLINE].armed_at if self._open else None
        if due is not None and what % 3 == 0:
            self.room.fire(DEADLINE)

    def _late(self, which: int, what: int) -> None:
        """A timer fires that lost its race, or that is waited for."""
        timers = [key for key in self._open.timers if key != DEADLINE] if self._open else []
        if timers:
            self.room.fire(timers[which % len(timers)])

    def _reask(self, which: int, what: int) -> None:
        asked = [key for key in self.room.waiting if key.startswith("ask:")]
        if asked and self._open:
            key = asked[which % len(asked)]
            again = ModelReasked(attempt=self._open.steps[key].attempt + 1, reason="silence")
            self.room.give(again, turn=self._open.id, step=key)

    def _discard(self, which: int, what: int) -> None:
        cancelled = [e for e in self.room.log if isinstance(e.data, ModelCancelled)]
        if cancelled:
            event = cancelled[which % len(cancelled)]
            lost = ModelDiscarded(attempt=1, reason="cancelled", partial="half")
            self.room.give(lost, turn=event.turn, step=event.step)

    def _retry(self, which: int, what: int) -> None:
        session = self.room.machine.session
        turns = [turn for turn in session.turns.values() if turn.status != "queued"]
        if self._open is None and self._active and turns:
            turn = turns[which % len(turns)]
            asked = [p for p in "abc" if turn.last_ask(p)]
            if asked:
                self.room.retry(turn.id, asked[what % len(asked)])

    def _reconfigure(self, which: int, what: int) -> None:
        if self.room.machine.session.status != "closed":
            window = (None, 1, 2, 3)[what % 4]
            self.room.reconfigure(history=("shared", "isolated")[which % 2], window=window)

    def _close(self, which: int, what: int) -> None:
        if what % 4 == 0 and self.room.machine.session.status != "closed":
            self.room.close()


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A program and what happened to its session."""
    return History.of(draw(programs()), draw(actions))


def always(route: Route) -> Scripts:
    """Gives one router, whatever source was recorded."""
    return lambda _blob, _entry: route


# --- in another process ----------------------------------------------------------------------


def head(events: list[Event]) -> str:
    """One hash over all events."""
    chain = HeadChain()
    for event in events:
        chain.add(event)
    return chain.hexdigest()


def write(cases: list[History], path: Path) -> list[str]:
    """Write sessions down for `main`; returns their heads."""
    lines = []
    for case in cases:
        log = dumps(spelled(case.program), case.room.log, case.room.blobs.contents)
        lines.append(orjson.dumps(log.decode()))
    path.write_bytes(b"\n".join(lines))
    return [head(case.room.log) for case in cases]


def main(path: str) -> None:
    """Replay what `write` wrote, and print the head of each."""
    for line in Path(path).read_bytes().splitlines():
        recorded = loads(orjson.loads(line).encode())
        route, blobs = router(parsed(recorded.about), lambda _: None), Blobs()
        blobs.contents |= recorded.contents
        machine = replay(recorded.events[0].stream, recorded.events, blobs, always(route))
        asked = sum(isinstance(event.data, ModelAsked) for event in recorded.events)
        print(machine.session.position, asked, head(list(recorded.events)))


if __name__ == "__main__":
    main(sys.argv[1])
