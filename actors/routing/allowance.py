"""How much one router may do in one turn."""

from __future__ import annotations

from actors.routing.steps import StepLimit

CALLS_PER_STEP = 100
"""Bounds what a router does besides its steps: decisions, combinations, branches."""


class Allowance:
    """Counts what a router does; raises `StepLimit` when it is too much."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._steps = self._decisions = self._calls = 0
        self._loops = self._most_loops = 0

    def step(self) -> None:
        """Count a step."""
        if self._steps >= self._max_steps:
            raise StepLimit(
                f"the router wanted more than {self._max_steps} steps: raise 'max_steps' of the "
                "session, or let the router stop earlier"
            )
        self._steps += 1

    def loop(self, change: int) -> None:
        """Count how many loops of calls and questions are under way."""
        self._loops += change
        self._most_loops = max(self._most_loops, self._loops)

    def spare(self, wanted: int) -> int:
        """How many of so many steps a loop may take.

        Each loop under way is left its last question, and the router as many steps besides as there
        ever were loops at once, so that no loop takes the turn over its limit.
        """
        left = self._max_steps - self._steps - self._loops - self._most_loops
        return max(0, min(wanted, left))

    @property
    def loops_are_safe(self) -> bool:
        """Whether each loop under way has its last question left after one more step."""
        return self._max_steps - self._steps > self._loops

    def decision(self) -> None:
        """Count a decision."""
        if self._decisions >= 2 * self._max_steps:
            raise StepLimit(
                f"the router recorded more than {2 * self._max_steps} decisions, which is twice "
                "'max_steps' of the session: let it stop earlier"
            )
        self._decisions += 1

    def call(self) -> None:
        """Count a call of the turn, whatever it was."""
        if self._calls >= CALLS_PER_STEP * self._max_steps:
            raise StepLimit(
                f"the router did more than {CALLS_PER_STEP} things for each of its "
                f"{self._max_steps} steps: let it stop earlier"
            )
        self._calls += 1
