"""The one writer of the projections: a page of events and its tracking are one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from events.errors import StoreError
from projections import tracking
from projections.money import teach_money
from projections.projector import Page, Projector
from projections.tracking import Tracked


class Writer:
    """Keeps projectors up to date in one file. For one thread at a time.

    However often it is stopped, and wherever: every event is counted in exactly once.
    """

    def __init__(self, path: Path, projectors: Sequence[Projector]) -> None:
        self._path = path.expanduser().absolute()
        self._projectors = tuple(projectors)
        self._open: sqlite3.Connection | None = None

    def close(self) -> None:
        """Give back the file; the next call opens it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def tracked(self) -> tuple[Tracked, ...]:
        """Where each projector is."""
        with self._transaction() as connection:
            found = [tracking.tracked(connection, one) for one in self._projectors]
            return tuple(one for one in found if one is not None)

    def apply(self, after: int, page: Page) -> None:
        """Count in `page`, the events directly behind sequence `after`.

        What a projector has taken already it is not given again. Raises `StoreError` where one has
        not come to `after` yet.
        """
        with self._transaction() as connection:
            for projector in self._projectors:
                at = tracking.tracked(connection, projector)
                if at is None or at.sequence < after:
                    raise StoreError(
                        f"{self._path.name} was changed by another process: reading it again",
                        retryable=True,
                    )
                fresh = page
                if at.sequence > after:
                    fresh = [one for one in page if one.sequence > at.sequence]
                if fresh:
                    projector.apply(connection, fresh)
                    tracking.advance(connection, projector, fresh)

    def reset(self) -> None:
        """Forget everything; the next page is the first."""
        with self._transaction() as connection:
            for projector in self._projectors:
                tracking.reset(connection, projector)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                f"the projections in {self._path} cannot be written: {error}; they can be made "
                "anew, so the file may be deleted while the room is stopped",
                retryable=True,
            ) from error

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=10
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                # A power cut may take the last pages; their tracking goes with them.
                connection.execute("PRAGMA synchronous = NORMAL")
                teach_money(connection)
                connection.execute("BEGIN IMMEDIATE")
                tracking.prepare(connection, self._projectors)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open
