"""Keeps stop sequences for a server that has none, or that leaves them in the answer."""

from __future__ import annotations


class Stops:
    """Lets a text pass up to the first stop sequence; `met` says that one came.

    What may be the beginning of one is held until more is known.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.met = False
        self._stops = stops
        self._held = ""

    def passed(self, text: str) -> str:
        """What of the text so far may be given out now."""
        if not self._stops or self.met:
            return "" if self.met else text
        text = self._held + text
        self._held = ""
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.met = True
            return text[: min(found)]
        size = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def rest(self) -> str:
        """What is still held, when no more will come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    most = min(len(text), len(stop))
    return next((size for size in range(most, 0, -1) if text.endswith(stop[:size])), 0)
