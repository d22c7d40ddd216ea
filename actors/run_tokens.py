"""Tokens that let a workflow's run, and nobody else, through the room's doors.

A token names its run and is signed with the room's key (HMAC-SHA-256), so whoever guards a door
needs no list of them. It is good for one attempt; whether that still runs, the router knows.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256

PREFIX = "run-"
_FORM = re.compile(
    r"run-(?P<session>[A-Za-z0-9_-]{1,64})\.(?P<turn>[A-Za-z0-9_-]{1,64})\.(?P<attempt>\d{1,9})"
    r"\.(?P<mac>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class RunToken:
    """The run that a token is for."""

    session: str
    turn: str
    attempt: int

    def signed(self, key: bytes) -> str:
        """The token itself."""
        text = f"{PREFIX}{self.session}.{self.turn}.{self.attempt}"
        return f"{text}.{_mac(text, key)}"


def run_of(token: str, key: bytes) -> RunToken | None:
    """The run that `token` is for; None where it is no such token, or not signed by this room."""
    found = _FORM.fullmatch(token)
    if found is None:
        return None
    text = token.rpartition(".")[0]
    if not hmac.compare_digest(_mac(text, key), found["mac"]):
        return None
    return RunToken(found["session"], found["turn"], int(found["attempt"]))


def _mac(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
