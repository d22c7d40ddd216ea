"""What is left out of a conversation that is longer than a model can read.

The rule `oldest_first`: the oldest utterances, as few as make the rest fit, but never the last
message of a person nor what was said after it. Where even that does not fit, the provider says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from events.turns import Entry

RULE = "oldest_first"

BYTES_PER_TOKEN = 3
"""An estimate on the safe side: English has about four bytes to a token."""
PER_MESSAGE = 8
"""Tokens of what stands around a message, estimated."""
LONGEST_LABEL = 800
"""Tokens of the longest label, which may be of 512 characters of four bytes each, and more."""
IMAGE = 2500
"""Tokens of an image, estimated: most models make some hundreds to two thousand of one."""
ANSWER = 4096
"""Tokens kept free for an answer without `max_tokens`, or a quarter of the context if less."""


class Fit(NamedTuple):
    """How many of the oldest utterances are left out, and the figures of that, in tokens.

    `estimated` is all of it, `left` what is not left out.
    """

    skipped: int
    estimated: int
    limit: int
    left: int


def room(context_length: int, max_tokens: int | None) -> int:
    """Tokens that a request may have, so that its answer fits behind it."""
    return context_length - (max_tokens or min(ANSWER, context_length // 4))


def tokens(size: int) -> int:
    """Tokens of a text of so many bytes, estimated."""
    return -(-size // BYTES_PER_TOKEN) + PER_MESSAGE


def most(size: int, count: int, images: int) -> int:
    """More tokens than so many utterances can have, labels included.

    `size` is that of their texts, in bytes, and `images` the number of their pictures.
    """
    return size // BYTES_PER_TOKEN + count * (PER_MESSAGE + LONGEST_LABEL) + images * IMAGE


def fit(shown: Sequence[Entry], around: int, limit: int, image: int = IMAGE) -> Fit:
    """What has to be left out of `shown`, where the rest of the request has `around` tokens.

    `image` are the tokens of an image: none where a note stands for it.
    """
    sizes = [tokens(entry.size + len(entry.label) + 4) + entry.images * image for entry in shown]
    total = around + sum(sizes)
    last = max((n for n, entry in enumerate(shown) if entry.participant is None), default=0)
    left, skipped = total, 0
    while left > limit and skipped < last:
        left -= sizes[skipped]
        skipped += 1
    return Fit(skipped, total, limit, left)
