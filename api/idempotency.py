"""The key of a request: sent again under the same one, it takes effect once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from api.problems import ProblemError

HEADER = "Idempotency-Key"


@contextmanager
def under(given: str | None) -> Iterator[str]:
    """The key that the client gave, or a new one, of which all ids of the request are to be made.

    A 503 names it, whatever the id of the command was that got no answer. Where the client gave
    none, its library is told not to repeat by itself what may have been done: that would be
    another request.
    """
    key = given or secrets.token_hex(16)
    try:
        yield key
    except ProblemError as problem:
        if HEADER in problem.headers:
            problem.headers[HEADER] = key
            if given is None and problem.uncertain:
                problem.headers["x-should-retry"] = "false"
        raise


def named(principal: str, key: str) -> str:
    """What is named by that principal's key: 64 hexadecimal digits."""
    return sha256(f"{principal}\n{key}".encode()).hexdigest()
