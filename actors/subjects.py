"""NATS subjects. Ids go in as they are; anything else is encoded first."""

from __future__ import annotations

import re
from hashlib import sha256
from zlib import crc32

from events.partitions import PARTITIONS

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def partition(stream: str) -> int:
    """The logical partition of a stream: CRC32 of its UTF-8 name modulo `PARTITIONS`."""
    return crc32(stream.encode()) % PARTITIONS


def token(name: str) -> str:
    """`name` as one subject token, injective, at most 66 characters.

    Names made of `[A-Za-z0-9_-]` up to 40 characters are kept behind `n-`; all others become a
    digest behind `x-`.
    """
    if len(name) <= 40 and _SAFE.fullmatch(name):
        return f"n-{name}"
    return f"x-{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def commands(part: int | str) -> str:
    """Requests to the owner of a partition: every command of a session."""
    return f"room.router.{part}.command"


def outcomes(part: int | str) -> str:
    """Requests to the owner of a partition: outcomes of calls."""
    return f"room.router.{part}.outcome"


def ping(part: int | str) -> str:
    """Requests to the owner of a partition: whether it is there."""
    return f"room.router.{part}.ping"


def account(part: int | str) -> str:
    """Requests to the owner of a partition: reservations and settlements of an account."""
    return f"room.router.{part}.account"


def presets(part: int | str) -> str:
    """Requests to the owner of a partition: save or delete a preset."""
    return f"room.router.{part}.preset"


def facts(part: int | str) -> str:
    """Requests to the owner of a partition: what it knows of models."""
    return f"room.router.{part}.facts"


def model(provider: str, name: str) -> str:
    """Where a configured model takes calls; its replicas share one queue group."""
    return f"room.model.{token(provider)}.{token(name)}"


def tool_server(name: str) -> str:
    """Where a configured tool server takes calls; replicas share one queue group."""
    return f"room.tool.{token(name)}"


def workflow(framework: str) -> str:
    """Where a framework's actor takes runs; its replicas share one queue group."""
    return f"room.workflow.{token(framework)}"


def elicited(session: str, turn: str, step: str) -> str:
    """Tells the tool server of a call what the person answered to what it asked."""
    return f"room.elicited.{session}.{turn}.{step}"


def call(session: str, turn: str, step: str) -> str:
    """Heartbeats of one call. Step keys consist of subject-safe characters only."""
    return f"room.call.{session}.{turn}.{step}"


def cancel(session: str, turn: str, step: str) -> str:
    """Says that a call is not wanted any more, whichever attempt."""
    return f"room.cancel.{session}.{turn}.{step}"


def delta(session: str, turn: str, step: str, attempt: int) -> str:
    """Pieces of an answer, for eyes only."""
    return f"room.delta.{session}.{turn}.{step}.{attempt}"


def deltas(session: str) -> str:
    """All pieces of a session."""
    return f"room.delta.{session}.>"


def committed(stream: str) -> str:
    """Notice that a stream has grown; a hint, never the record."""
    return f"room.commit.{token(stream)}"


def host(name: str) -> str:
    """Requests to one host of models."""
    return f"room.host.{token(name)}"


def retire(name: str) -> str:
    """Requests to one host of models to let go of them, where nobody uses them."""
    return f"room.retire.{token(name)}"


REPLAY = "room.replay."
"""Begins the subjects that take the outcome of a replayed run."""
ALL_COMMITS = "room.commit.*"
PROJECTED = "room.projected"
"""Notice that the projections have advanced; a hint, never the record."""
GONE = "room.gone"
"""Says that the actor of a model is about to take no further call."""
REPORT = "room.report"
"""Asks every host of models what they do."""
REPORTED = "room.reported."
"""Begins the subjects at which they answer that."""
SUPERVISOR = "room.supervisor"
"""Requests to the supervisor: start the actor of a model."""

DELTA_STREAM = "DELTAS"
"""JetStream stream (memory, minutes) from which a returning client replays open steps."""
