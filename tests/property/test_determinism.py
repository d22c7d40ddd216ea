"""The same outcomes in the same order decide the same, in every process and after every crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from actors.routing.engine import TurnEngine
from actors.routing.offers import Offer, Offers, Tool
from actors.routing.steps import (
    Answer,
    AskStep,
    CallStep,
    Cancelled,
    Decided,
    Emission,
    Emitted,
    Ended,
    Failure,
    ToolResult,
)
from actors.routing.turn import Facts, Turn
from events.config import SessionConfig
from events.types import RouteDecided
from events.values import Blob, ToolCall
from tests.property.histories import History, histories, write
from tests.property.programs import (
    ROUNDS,
    TOOLS,
    WITH_TOOLS,
    Node,
    ProgramFault,
    arrivals,
    programs,
    router,
    shown,
)
from tests.property.reference import Calls, Lost, Reference
from tests.sessions import config

WANTED = (*TOOLS, "s__none")
TOOLS_OF_ALL = {name: Tool("s", name.split("__")[1]) for name in TOOLS}


def tooled(names: str) -> SessionConfig:
    """A session whose participants may call tools so often."""
    models = [one.model_dump() | {"tool_rounds": ROUNDS} for one in config(names).models]
    return config(names, models=models)


class Engine:
    """A program under the turn engine, told in the words of the reference."""

    def __init__(self, program: Node) -> None:
        self.said: list[str] = []
        self.cancelled: list[str] = []
        self.noted: list[str] = []
        self.end: str | None = None
        self._keys: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._engine = TurnEngine(2000)
        turn = Turn(
            self._engine,
            id="t1",
            message="Hello",
            config=tooled("abc"),
            facts=Facts(),
            last_speaker=None,
            offers=Offers(dict.fromkeys(WITH_TOOLS, Offer(Blob.of(b"[]"), TOOLS_OF_ALL))),
        )
        self._take(self._engine.start(router(program, self.noted.append)(turn)))

    @property
    def open(self) -> list[str]:
        return [self._names[key] for key in self._engine.open_steps]

    def feed(self, name: str, choice: int) -> Any:
        """Give the step an outcome; returns it in the words of the reference."""
        key = self._keys[name]
        kind, who, _ = key.split(":")
        given: Any
        meant: Any
        if kind == "timer":
            given, meant = None, "waited"
        elif kind == "draw":
            given, meant = choice, str(choice)
        elif kind == "call":
            given, meant = ToolResult(who, key, name), name
        elif choice % 4 == 0:
            given, meant = Failure(who, key, "Down", name), Lost(name)
        elif choice % 5 in (3, 4):
            wanted = tuple(WANTED[(choice + n) % 3] for n in range(1 + choice % 3))
            calls = tuple(ToolCall(id="", name=one, arguments="{}") for one in wanted)
            given = Answer(who, key, "calls", tool_calls=calls)
            meant = Calls(wanted, "calls") if who in WITH_TOOLS else "calls"
        else:
            meant = ("go", "stop", "yes")[choice % 3]
            given = Answer(who, key, meant)
        self._take(self._engine.feed(key, given))
        return meant

    def close(self) -> None:
        if self.end is None:
            self.end = "closed"
            self._take(self._engine.close())

    def _take(self, emissions: Any) -> None:
        due = deque(emissions)
        while due:
            emission = due.popleft()
            self._one(emission)
            match emission:
                case Emitted(CallStep(refused=str()) as call):  # as the machine does
                    refusal = Failure(call.name, call.key, "ToolRefused", "")
                    due.extend(self._engine.feed(call.key, refusal))

    def _one(self, emission: Emission) -> None:
        match emission:
            case Emitted(step):
                label = step.instruction if isinstance(step, AskStep) else step.key.split(":")[1]
                if isinstance(step, AskStep):
                    assert (step.tool_choice == "none") <= (step.participant in WITH_TOOLS)
                assert label
                self._counts[label] = n = self._counts.get(label, 0) + 1
                self._keys[f"{label}#{n}"], self._names[step.key] = step.key, f"{label}#{n}"
                self.said.append(f"{label}#{n}")
            case Cancelled(key, reason):
                self.cancelled.append(f"{reason} {self._names[key]}")
            case Decided(decision):
                assert isinstance(decision, RouteDecided)
                self.said.append(f"decided {decision.reason}")
            case Ended(value, fault):
                assert self.end is None
                assert fault is None or isinstance(fault, ProgramFault), fault
                self.end = f"raised {fault}" if fault else f"returned {shown(value)}"


def assert_agree(engine: Engine, reference: Reference) -> None:
    assert engine.said == reference.said
    assert engine.open == list(reference.open)
    assert sorted(engine.cancelled) == sorted(reference.cancelled)
    assert sorted(engine.noted) == sorted(reference.noted)
    assert engine.end == reference.end


@settings(max_examples=3 * settings().max_examples)
@given(programs(), arrivals, st.booleans())
def test_the_engine_decides_what_asyncio_would(
    program: Node, order: list[tuple[int, int]], finish: bool
) -> None:
    engine, reference = Engine(program), Reference(program)
    try:
        assert_agree(engine, reference)
        for which, what in order + [(0, 1)] * (200 if finish else 0):
            if not engine.open:
                break
            name = engine.open[which % len(engine.open)]
            reference.feed(name, engine.feed(name, what))
            assert_agree(engine, reference)
    finally:
        reference.close()
        engine.close()
    assert_agree(engine, reference)
    event(str(engine.end).split()[0])
    event(f"{len(engine.said) // 5 * 5}+ said")
    event(f"{len(engine.cancelled) // 3 * 3}+ cancelled")


def test_sessions_replay_and_survive_a_crash_between_any_two_commits(tmp_path: Path) -> None:
    cases: list[History] = []

    @given(histories())
    def each(history: History) -> None:
        history.room.prove()
        cases.append(history)
        for kind in Counter(entry.type for entry in history.room.log):
            event(kind)

    each()
    path = tmp_path / "sessions.jsonl"
    heads = write(cases, path)
    for seed in ("1", "4242"):
        told = subprocess.run(
            [sys.executable, "-m", "tests.property.histories", str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert [line.split()[-1] for line in told.stdout.splitlines()] == heads
