"""What a session knows of a workflow's run: its attempts, and which calls they made."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class RunState:
    """A run as its turn keeps it.

    A repeated run makes the calls of the attempts before it again. Its k-th call of a digest is the
    k-th recorded one of that digest, and gets the outcome of that; only what is left is new.
    """

    framework: str
    attempt: int = 1
    steps: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Keys of the steps by the digest of their call, in the order of the log."""
    commands: dict[str, str] = field(default_factory=dict)
    """The step of each call, by the id of the command that brought it."""
    _made: defaultdict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))

    def recorded(self, digest: str) -> str | None:
        """The step that the present attempt's next call of that digest was, if it was made."""
        keys, made = self.steps.get(digest, ()), self._made.get((self.attempt, digest), 0)
        return keys[made] if made < len(keys) else None

    def call(self, attempt: int, digest: str, step: str, command: str | None) -> None:
        """A call was made as that step, or (where the step is known) matched to it."""
        if step not in self.steps[digest]:
            self.steps[digest].append(step)
        self._made[attempt, digest] += 1
        if command is not None:
            self.commands[command] = step
