"""Reading the projections: one file, one writer, any number of readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from events.config import Pattern
from events.errors import ConfigError, StoreError
from events.presets import PresetKind
from projections import tracking
from projections.approvals import Approvals, WaitingPage, list_waiting
from projections.calls import Calls, Past, past
from projections.choices import Choices, choices
from projections.costs import EVERYTHING, CostReport, Costs, Span, cost_report
from projections.entries import Transcript, entries
from projections.money import teach_money
from projections.presets import PresetPage, PresetTable, list_presets
from projections.projector import Projector
from projections.repricing import Table
from projections.sessions import SessionPage, Sessions, SessionSummary, list_sessions, one_session
from projections.transcript import Transcripts

SESSIONS, TRANSCRIPTS, COSTS, CALLS = Sessions(), Transcripts(), Costs(), Calls()
PRESETS, APPROVALS = PresetTable(), Approvals()
PROJECTORS: tuple[Projector, ...] = (SESSIONS, TRANSCRIPTS, COSTS, CALLS, PRESETS, APPROVALS)
"""What is kept."""

MOST = 1000
"""Items of one page at most."""


def open_reader(path: Path) -> Reader:
    """Open the projections at `path` for reading; there need not be any yet."""
    return Reader(path)


class Reader:
    """Answers out of the projections, from any thread.

    Every answer is of one moment and says its `position`. Before anything was projected, and while
    a projection is made anew, there is less to be seen, and the position says so. Raises
    `StoreError` where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().absolute()
        self._idle: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._closed = False

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    # --- answers -----------------------------------------------------------------------------

    def sessions(
        self,
        limit: int = 50,
        cursor: str | None = None,
        tag: str | None = None,
        status: str | None = None,
        pattern: Pattern | None = None,
    ) -> SessionPage:
        """Sessions, newest first; raises `ConfigError` for a cursor that no page gave."""
        _check(limit)
        with self._reading(SESSIONS) as (connection, sequence):
            found, more = list_sessions(connection, limit, cursor, tag, status, pattern=pattern)
        return SessionPage(sessions=found, next=more, position=sequence)

    def session(self, id: str) -> SessionSummary | None:
        """One session, or None where there is none (yet)."""
        with self._reading(SESSIONS) as (connection, _):
            return one_session(connection, id)

    def transcript(self, id: str, after: int = 0, limit: int = 200) -> Transcript:
        """The conversation behind the entry at position `after`; empty for an unknown session."""
        _check(limit)
        with self._reading(TRANSCRIPTS) as (connection, _):
            found, more = entries(connection, id, after, limit)
            position = tracking.position(connection, TRANSCRIPTS, id)
        return Transcript(session=id, position=position, entries=found, next=more)

    def costs(
        self, session: str | None = None, span: Span = EVERYTHING, table: Table | None = None
    ) -> CostReport:
        """What one session has cost, or all of them; zero for an unknown session.

        With `table` each line also says what the same calls would cost by its prices.
        """
        projectors = (COSTS,) if table is None else (COSTS, CALLS)
        with self._reading(*projectors) as (connection, sequence):
            if session is None:
                return cost_report(connection, None, sequence, span, table)
            position = tracking.position(connection, COSTS, session)
            return cost_report(connection, session, position, span, table)

    def choices(self, span: Span = EVERYTHING) -> Choices:
        """How models compare that did the same kind of work."""
        with self._reading(COSTS, CALLS) as (connection, sequence):
            return choices(connection, sequence, span)

    def waiting(self, limit: int = 50, cursor: str | None = None) -> WaitingPage:
        """What waits for a person, what has waited longest first.

        Raises `ConfigError` for a cursor that no page gave.
        """
        _check(limit)
        with self._reading(APPROVALS) as (connection, sequence):
            found, more = list_waiting(connection, limit, cursor)
        return WaitingPage(waiting=found, next=more, position=sequence)

    def presets(self, kind: PresetKind | None = None) -> PresetPage:
        """All presets, or those of one kind, by name."""
        with self._reading(PRESETS) as (connection, sequence):
            return PresetPage(presets=list_presets(connection, kind), position=sequence)

    def past(self, models: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Past]]:
        """What these models, by provider and name, have answered so far, by purpose."""
        with self._reading(CALLS) as (connection, _):
            return {model: past(connection, *model) for model in set(models)}

    def position(self, session: str) -> int:
        """The last position of that stream that all projections have seen; 0 for none."""
        with self._reading(*PROJECTORS) as (connection, _):
            return min(tracking.position(connection, one, session) for one in PROJECTORS)

    def tracked(self) -> int:
        """The sequence of the store that all projections have reached; 0 for none."""
        with self._reading(*PROJECTORS) as (_, sequence):
            return sequence

    # --- the file ----------------------------------------------------------------------------

    @contextmanager
    def _reading(self, *projectors: Projector) -> Iterator[tuple[sqlite3.Connection, int]]:
        """The file as of one moment, and the sequence that these projections had reached.

        Where they are not there, or of another release, empty tables and 0.
        """
        with ExitStack() as stack:
            connection, sequence = None, None
            if self._path.exists():
                connection = stack.enter_context(self._borrowed())
                sequence = _reached(connection, projectors)
            if connection is None or sequence is None:
                connection, sequence = stack.enter_context(closing(_empty(projectors))), 0
            yield connection, sequence

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        """A connection of this call's own, in a transaction that sees one moment."""
        with self._lock:
            if self._closed:
                raise StoreError("the projections were closed")
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or _connect(self._path)
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise StoreError(
                f"the projections in {self._path} cannot be read: {error}", retryable=True
            ) from error
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection | None) -> None:
        if connection is None:
            return
        with self._lock:
            if not self._closed:
                connection.execute("ROLLBACK")
                self._idle.append(connection)
                return
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
    )
    teach_money(connection)
    return connection


def _empty(projectors: Iterable[Projector]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    teach_money(connection)
    tracking.prepare(connection, projectors)
    return connection


def _reached(connection: sqlite3.Connection, projectors: Iterable[Projector]) -> int | None:
    """The sequence that all of them have reached; None where one is not there."""
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'tracking'").fetchone()
    if not made:
        return None
    found = [tracking.tracked(connection, projector) for projector in projectors]
    reached = [one.sequence for one in found if one is not None]
    return min(reached) if len(reached) == len(found) else None


def _check(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise ConfigError(f"a page has 1 to {MOST} entries, not {limit}")
