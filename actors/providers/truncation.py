"""Finds what a server left out of a request without a word, by the tokens that it read.

Servers of one's own do so where a conversation does not fit into the context that they run with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from actors.providers.port import ChatRequest, Finished

CHARACTERS: Final = 8  # that a token has at most on average, where no character is repeated
DENSE: Final = 2  # the same, in scripts that write no spaces and a syllable or word with each sign
CLEARLY: Final = 0.9  # of the fewest tokens that were sent; with fewer than that, some are missing

_WORD = re.compile(r"\w+")
# Kana, Bopomofo, Chinese characters, Yi: all of `\w`, but words of many tokens.
_DENSE = re.compile(
    "[\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u9fff\ua000-\ua48f\uf900-\ufaff\U00020000-\U0003ffff]"
)
_REPEATED = re.compile(r"(.)\1+", re.DOTALL)


def fewest_tokens(text: str) -> int:
    """As many tokens as `text` has at least, with any usual tokenizer.

    A token holds no two words, and seldom more than a few characters unless they repeat.
    """
    text = _REPEATED.sub(r"\1", text)
    text, dense = _DENSE.subn(" ", text)
    words = sum(1 for _ in _WORD.finditer(text))
    return dense // DENSE + max(words, (len(text) - dense) // CHARACTERS)


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known of a request when its usage comes back.

    `context` is that of the model as it runs, `at_least` what was sent; both are in tokens.
    """

    at_least: int
    context: int | None

    @classmethod
    def of(cls, request: ChatRequest, context: int | None) -> Self:
        """What is known of `request`."""
        return cls(sum(fewest_tokens(message.content) for message in request.messages), context)

    def checked(self, finished: Finished) -> Finished:
        """The end of the answer, with a note `truncated: ...` where something must be missing."""
        usage = finished.usage
        if usage is None:
            return finished
        read, most = usage.input + usage.cache_read + usage.cache_write, self.context
        if read < CLEARLY * self.at_least:
            said = f"the server read {read} tokens of at least {self.at_least} that were sent"
        elif most is not None and self.at_least > read and _at_a_cut(read / most):
            said = f"the server read {read} tokens, as many as are left where it cuts"
        elif most is not None and read >= most:
            said = f"the server read {read} tokens, all that the context holds"
        elif most is not None and read + usage.output + usage.reasoning > most:
            said = "the beginning was dropped while the answer was written"
        else:
            return finished
        note = f"truncated: {said} (context {most or 'unknown'}): raise it, or shorten what is sent"
        return replace(finished, notes=(*finished.notes, note))


def _at_a_cut(part: float) -> bool:
    """Whether a server that leaves something out leaves about that part of its context full.

    Some fill all of it, some drop half to have room for the answer.
    """
    return part >= 0.95 or 0.45 <= part <= 0.55
