"""How late tokens are where they are read."""

from __future__ import annotations

from array import array

from benchmarks.machine import late_ms, stamp

TOKEN = 9
"""Characters of a token that says when it was due."""


class Lateness:
    """Collects how late each token came; `count` is their number."""

    def __init__(self) -> None:
        self._late = array("d")

    @property
    def count(self) -> int:
        """Tokens seen."""
        return len(self._late)

    def see(self, text: str | bytes) -> None:
        """Take a piece of an answer that consists of whole tokens."""
        now = stamp()
        append = self._late.append
        for start in range(0, len(text), TOKEN):
            append(late_ms(now, int(text[start : start + TOKEN])))

    def mean(self) -> float:
        """Milliseconds."""
        return sum(self._late) / len(self._late) if self._late else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` of the tokens (0 to 1) were not later than."""
        if not self._late:
            return 0.0
        return sorted(self._late)[min(len(self._late) - 1, int(share * len(self._late)))]
