"""What is asked in the benchmarks of turns and streaming, of the floors and the room alike."""

from __future__ import annotations

from dataclasses import dataclass

MODELS = tuple(f"bench-{number}" for number in range(1, 6))
"""Five models of one server; the room has a process for each."""
MESSAGE = "Which of the two designs would you choose for the new reading room, and why?"
ANSWER_TOKENS = 8
"""Tokens of an answer in the benchmark of turns: a short sentence."""


@dataclass(frozen=True, slots=True)
class Load:
    """`sessions` at once, each `turns` turns one after another.

    An answer has `tokens` tokens, `pace` a second (0: all at once).
    """

    sessions: int
    turns: int
    tokens: int = ANSWER_TOKENS
    pace: int = 0

    @property
    def all_turns(self) -> int:
        """Turns of all sessions."""
        return self.sessions * self.turns

    @property
    def all_tokens(self) -> int:
        """Tokens of all answers."""
        return self.all_turns * len(MODELS) * self.tokens


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load took: seconds for all of it and for each turn, processor time, lateness."""

    seconds: float
    turn_ms: float
    turns_per_second: float
    cpu_seconds: float
    cpu_us_per_token: float
    mean_late_ms: float
    p99_late_ms: float
