"""Up to where each projection has counted events in: kept beside its rows, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from events.canonical import canonical
from events.envelope import Recorded
from projections.projector import Page, Projector

DDL = (
    "CREATE TABLE IF NOT EXISTS tracking (projector TEXT PRIMARY KEY, version INTEGER NOT NULL, "
    "sequence INTEGER NOT NULL, mark BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS positions (stream TEXT, projector TEXT, position INTEGER NOT NULL, "
    "PRIMARY KEY (stream, projector)) WITHOUT ROWID",
)


class Tracked(NamedTuple):
    """The store's sequence that a projection has reached, and the `mark` of the event there."""

    sequence: int
    mark: bytes


def mark(recorded: Recorded) -> bytes:
    """Tells this event from any other one that another store may have at the same sequence."""
    return sha256(canonical(recorded.event)).digest()


def prepare(connection: sqlite3.Connection, projectors: Iterable[Projector]) -> None:
    """Make what tables are missing; projections of another version begin anew."""
    for statement in DDL:
        connection.execute(statement)
    for projector in projectors:
        found = connection.execute(
            "SELECT version FROM tracking WHERE projector = ?", (projector.name,)
        ).fetchone()
        if found is None or found[0] != projector.version:
            reset(connection, projector)


def reset(connection: sqlite3.Connection, projector: Projector) -> None:
    """Forget everything of one projection: its tables are empty afterwards."""
    name = projector.name
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND (name = ? OR name GLOB ?)",
        (name, f"{name}_*"),
    ).fetchall()
    for (table,) in tables:
        connection.execute(f'DROP TABLE "{table}"')
    for statement in projector.ddl:
        connection.execute(statement)
    connection.execute("DELETE FROM positions WHERE projector = ?", (name,))
    connection.execute(
        "INSERT OR REPLACE INTO tracking VALUES (?,?,0,x'')", (name, projector.version)
    )


def tracked(connection: sqlite3.Connection, projector: Projector) -> Tracked | None:
    """Where a projection is; None where there is none of this version."""
    found = connection.execute(
        "SELECT sequence, mark FROM tracking WHERE projector = ? AND version = ?",
        (projector.name, projector.version),
    ).fetchone()
    return Tracked(*found) if found else None


def advance(connection: sqlite3.Connection, projector: Projector, page: Page) -> None:
    """Note that the projection has taken `page`."""
    connection.execute(
        "UPDATE tracking SET sequence = ?, mark = ? WHERE projector = ?",
        (page[-1].sequence, mark(page[-1]), projector.name),
    )
    last = {recorded.event.stream: recorded.event.position for recorded in page}
    connection.executemany(
        "INSERT INTO positions VALUES (?,?,?) "
        "ON CONFLICT (stream, projector) DO UPDATE SET position = excluded.position",
        [(stream, projector.name, position) for stream, position in last.items()],
    )


def position(connection: sqlite3.Connection, projector: Projector, stream: str) -> int:
    """The position of a stream that a projection has reached; 0 before its first event."""
    found = connection.execute(
        "SELECT position FROM positions WHERE stream = ? AND projector = ?",
        (stream, projector.name),
    ).fetchone()
    return found[0] if found else 0
