"""The keys of a turn's steps: `kind:target:n`, n counting that pair within the turn."""

from __future__ import annotations


class Keys:
    """Gives each step the next key of its kind and target."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def next(self, pair: str) -> str:
        """The next key of `kind:target`."""
        n = self._counts[pair] = self._counts.get(pair, 0) + 1
        return f"{pair}:{n}"

    def emitted(self, key: str) -> bool:
        """Whether a step was given that key."""
        pair, _, n = key.rpartition(":")
        return n.isascii() and n.isdecimal() and 0 < int(n) <= self._counts.get(pair, 0)
