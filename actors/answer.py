"""What has come of an answer so far, and when."""

from __future__ import annotations

from actors.providers.port import Delta, Finished
from events.values import Usage

MOST_PAIRS = 512  # of the rhythm that an event keeps
_KEPT = 8 * MOST_PAIRS


class Answer:
    """Collects the pieces of one answer. Times are those of the event loop, in seconds."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.first: float | None = None
        self.finished: Finished | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._rhythm: list[tuple[int, int]] = []

    def add(self, delta: Delta, now: float) -> None:
        """Take the next piece."""
        if self.first is None:
            self.first = now
        if delta.channel == "reasoning":
            self._reasoning.append(delta.text)
            return
        self._text.append(delta.text)
        self._rhythm.append((int((now - self.first) * 1000), len(delta.text)))
        if len(self._rhythm) > _KEPT:
            self._rhythm = coarser(self._rhythm, MOST_PAIRS)

    @property
    def text(self) -> str:
        """The text so far, as valid Unicode."""
        return _valid("".join(self._text))

    @property
    def reasoning(self) -> str | None:
        """The reasoning so far, None where there was none."""
        return _valid("".join(self._reasoning)) or None

    @property
    def first_token_ms(self) -> float | None:
        """From the request to the first piece."""
        return None if self.first is None else round((self.first - self.began) * 1000, 3)

    @property
    def rhythm(self) -> tuple[int, ...]:
        """Flat pairs of (milliseconds since the first piece, characters of text)."""
        return tuple(n for pair in coarser(self._rhythm, MOST_PAIRS) for n in pair)

    def estimated_usage(self, input_characters: int) -> Usage:
        """What it cost, where the provider did not say: a token is about four characters."""
        return Usage(
            input=-(-input_characters // 4),
            output=-(-sum(map(len, self._text)) // 4),
            reasoning=-(-sum(map(len, self._reasoning)) // 4),
            estimated=True,
        )


def coarser(rhythm: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """The same characters in at most so many pairs: what comes together is put together."""
    together: list[tuple[int, int]] = []
    for at, count in rhythm:
        if together and together[-1][0] == at:
            together[-1] = (at, together[-1][1] + count)
        else:
            together.append((at, count))
    size = -(-len(together) // most) if len(together) > most else 1
    return [
        (together[start][0], sum(count for _, count in together[start : start + size]))
        for start in range(0, len(together), size)
    ]


def _valid(text: str) -> str:
    """The text with halves of surrogate pairs, which no encoding takes, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
