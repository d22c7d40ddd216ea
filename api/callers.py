"""Who waits for the same call at a door: it is called off when the last of them leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Callers:
    """How many wait for each call, in this process."""

    def __init__(self) -> None:
        self._waiting: Counter[tuple[str, str]] = Counter()

    def waiting(self, session: str) -> int:
        """How many wait for something in that session."""
        return sum(count for (in_, _), count in self._waiting.items() if in_ == session)

    @contextmanager
    def one(self, session: str, command: str) -> Iterator[Callable[[], bool]]:
        """One more waits for what that command to the session begins.

        Gives what is to be called when it leaves early: it says whether nobody waits any more.
        """
        call, left = (session, command), False
        self._waiting[call] += 1

        def leave() -> bool:
            nonlocal left
            if not left:
                left = True
                self._waiting[call] -= 1
                if not self._waiting[call]:
                    del self._waiting[call]
            return call not in self._waiting

        try:
            yield leave
        finally:
            leave()
