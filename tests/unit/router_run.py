"""Routers under the turn engine, driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from actors.routing.engine import TurnEngine
from actors.routing.steps import Answer, Cancelled, Decided, Emission, Emitted, Ended, Failure
from actors.routing.turn import Facts, Turn
from events.types import RouteDecided
from tests.sessions import config

Router = Callable[[Turn], Coroutine[Any, Any, Any]]


class Run:
    """A router under the engine; what it emits is told in short."""

    def __init__(self, route: Router, *, max_steps: int = 50) -> None:
        self.engine = TurnEngine(max_steps)
        self.turn = Turn(
            self.engine,
            id="t1",
            message="Hello",
            config=config("abcde"),
            facts=Facts(),
            last_speaker=None,
        )
        self.end: Ended | None = None
        self.started = self._short(self.engine.start(route(self.turn)))

    def answer(self, participant: str, n: int = 1, text: str = "yes") -> str:
        key = f"ask:{participant}:{n}"
        return self.feed(key, Answer(participant, key, text))

    def fail(self, participant: str, n: int = 1) -> str:
        key = f"ask:{participant}:{n}"
        return self.feed(key, Failure(participant, key, "Down", "it is down"))

    def feed(self, key: str, outcome: Any = None) -> str:
        return self._short(self.engine.feed(key, outcome))

    def close(self) -> str:
        return self._short(self.engine.close())

    @property
    def value(self) -> Any:
        assert self.end is not None
        assert self.end.fault is None
        return self.end.value

    @property
    def fault(self) -> str:
        assert self.end is not None
        assert self.end.fault is not None
        return f"{type(self.end.fault).__name__}: {self.end.fault}"

    def _short(self, emissions: list[Any]) -> str:
        return " ".join(map(self._one, emissions))

    def _one(self, emission: Emission) -> str:
        match emission:
            case Emitted(step):
                return step.key
            case Cancelled(key, reason):
                return f"{reason}({key})"
            case Decided(decision):
                assert isinstance(decision, RouteDecided)
                return f"decided({decision.reason})"
            case Ended():
                assert self.end is None
                self.end = emission
                return "end"


async def text(pending: Any) -> str:
    outcome = await pending
    return outcome.text if isinstance(outcome, Answer) else outcome.error


def faulted(run: Run) -> str:
    """The fault a router ended with before anything was fed to it."""
    assert run.started == "end" or run.started.endswith(" end")
    return run.fault
