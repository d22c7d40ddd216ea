"""Events in a SQLite file: WAL, every commit synced to disk, one writer process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from eventsourcing.persistence import OperationalError, PersistenceError, StoredEvent
from eventsourcing.sqlite import (
    SQLITE3_DEFAULT_LOCK_TIMEOUT,
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from events.envelope import Head
from events.errors import ConfigError
from events.partitions import PARTITIONS, UNSAID, check_partitions
from events.recorders.lock import WriterLock
from events.recorders.port import PAGE, Advance, Row, Snapshot, paged, store_error

SCHEMA = 1
"""Version of the tables, kept in the file as `user_version`."""

_STATEMENTS = (
    # The library leaves the global id to the implicit rowid, which SQLite gives away again after
    # the last row is deleted. Declared under its own name, the library's queries stay as they are.
    """
    CREATE TABLE stored_events (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT,
        originator_id TEXT NOT NULL,
        originator_version INTEGER NOT NULL,
        topic TEXT NOT NULL,
        state BLOB NOT NULL,
        UNIQUE (originator_id, originator_version)
    )
    """,
    """
    CREATE TABLE heads (
        stream TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        hash BLOB NOT NULL,
        open_turn TEXT
    ) WITHOUT ROWID
    """,
    f"PRAGMA user_version = {SCHEMA}",
)
_KEEP = "CREATE TABLE partitions (number INTEGER NOT NULL)"
_COLUMNS = "rowid, originator_id, originator_version, topic, state"
_HEADS = "SELECT stream, position, hash, open_turn FROM heads"


class SQLiteRecorder(SQLiteApplicationRecorder):
    """The library's recorder with a global id that is never used twice, and with heads.

    Opening it as a writer creates the file and its tables and takes the writer lock;
    `read_only` needs neither, and reads while a writer in another process writes.
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, partitions: int = PARTITIONS
    ) -> None:
        path = path.expanduser().resolve()
        if read_only and not path.exists():
            raise ConfigError(f"there is no event store at {path}: start a room there first")
        self._lock: WriterLock | None = None
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(path.with_name(path.name + ".lock"))
        try:
            self._writing = _Datastore(path, mode="ro" if read_only else "rwc")
            self._prepare(path, partitions, read_only=read_only)
            super().__init__(_Datastore(path, mode="ro"))
            self.insert_events_statement = (
                f"INSERT INTO {self.events_table_name} "
                "(originator_id, originator_version, topic, state) VALUES (?,?,?,?)"
            )
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path, partitions: int, *, read_only: bool) -> None:
        kept = partitions
        try:
            with self._writing.transaction(commit=not read_only) as cursor:
                cursor.execute("PRAGMA user_version")
                version = cursor.fetchone()[0]
                if version == 0 and not read_only:
                    for statement in _STATEMENTS:
                        cursor.execute(statement)
                    version = SCHEMA
                    _keep(cursor, partitions)
                elif version == SCHEMA:
                    kept = _kept_partitions(cursor, keep=not read_only)
        except PersistenceError as error:
            raise store_error(error, f"opening the event store {path}") from error
        if version != SCHEMA:
            raise ConfigError(
                f"{path} is not an event store that this release reads "
                f"(its schema is {version}, not {SCHEMA})"
            )
        check_partitions(kept, partitions, str(path))

    def construct_create_table_statements(self) -> list[str]:
        return []  # made when the file is opened for writing

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        with self._writing.transaction(commit=True) as cursor:
            self._insert_events(cursor, stored_events, **kwargs)

    def _insert_events(
        self,
        c: SQLiteCursor,
        stored_events: Sequence[StoredEvent],
        *,
        advances: Sequence[Advance] = (),
        **_: Any,
    ) -> None:
        c.executemany(
            self.insert_events_statement,
            [(e.originator_id, e.originator_version, e.topic, e.state) for e in stored_events],
        )
        c.executemany(
            "INSERT INTO heads VALUES (?,?,?,?) ON CONFLICT (stream) DO UPDATE SET "
            "position = excluded.position, hash = excluded.hash, open_turn = excluded.open_turn",
            [(h.stream, h.position, h.hash, h.open_turn) for _, h in advances],
        )

    def insert(self, events: Sequence[StoredEvent], advances: Sequence[Advance]) -> frozenset[str]:
        self.insert_events(events, advances=advances)
        # The lock makes this the only writer, so the journal's heads are the file's: none refused.
        return frozenset()

    def rows(self, stream: str, after: int, limit: int | None) -> list[Row]:
        with self.datastore.transaction(commit=False) as cursor:
            return self._rows(cursor, stream, after, limit)

    def _rows(self, cursor: SQLiteCursor, stream: str, after: int, limit: int | None) -> list[Row]:
        return _select(
            cursor,
            f"SELECT {_COLUMNS} FROM {self.events_table_name} WHERE originator_id = ? "
            "AND originator_version > ? ORDER BY originator_version LIMIT ?",
            (stream, after, -1 if limit is None else limit),
        )

    def rows_of_all(self, after: int, limit: int) -> list[Row]:
        with self.datastore.transaction(commit=False) as cursor:
            return _select(
                cursor,
                f"SELECT {_COLUMNS} FROM {self.events_table_name} "
                "WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (after, limit),
            )

    def heads(self, streams: Sequence[str] | None = None) -> list[Head]:
        with self.datastore.transaction(commit=False) as cursor:
            return _heads(cursor, streams)

    def last(self) -> int:
        return self.max_notification_id() or 0

    def streams(self) -> list[str]:
        with self.datastore.transaction(commit=False) as cursor, _any_text(cursor):
            cursor.execute(
                f"SELECT originator_id FROM {self.events_table_name} "
                "UNION SELECT stream FROM heads ORDER BY 1"
            )
            # A name that is not text was put there by hand: the event is missing where it belongs.
            return [name for (name,) in cursor.fetchall() if isinstance(name, str)]

    @contextmanager
    def snapshot(self, stream: str) -> Iterator[Snapshot]:
        with self.datastore.transaction(commit=False) as cursor, _any_text(cursor):
            head = next(iter(_heads(cursor, [stream])), None)

            def pages() -> Iterator[list[Row]]:
                # By sequence within a position: a rebuilt table may hold one position twice.
                cursor.execute(
                    f"SELECT {_COLUMNS} FROM {self.events_table_name} "
                    "WHERE originator_id = ? ORDER BY originator_version, rowid",
                    (stream,),
                )
                while page := _fetch(cursor, PAGE):
                    yield page

            yield Snapshot(head, paged(pages()))

    def reconnect(self) -> None:
        self._writing.reset()

    def close(self) -> None:
        for name in ("_writing", "datastore"):
            if hasattr(self, name):
                getattr(self, name).close()
        if self._lock is not None:
            self._lock.release()


def _keep(cursor: SQLiteCursor, partitions: int) -> None:
    cursor.execute(_KEEP)
    cursor.execute("INSERT INTO partitions VALUES (?)", (partitions,))


def _kept_partitions(cursor: SQLiteCursor, *, keep: bool) -> int:
    """The number in the file; an older file has none, and is given it where it may be written."""
    cursor.execute("SELECT count(*) FROM sqlite_master WHERE name = 'partitions'")
    if not cursor.fetchone()[0]:
        if keep:
            _keep(cursor, UNSAID)
        return UNSAID
    cursor.execute("SELECT number FROM partitions")
    return int(cursor.fetchone()[0])


def _select(cursor: SQLiteCursor, statement: str, params: tuple[object, ...]) -> list[Row]:
    cursor.sqlite_cursor.row_factory = None  # plain tuples: the library's rows are slower
    cursor.execute(statement, params)
    return [Row._make(row) for row in cursor.fetchall()]


def _heads(cursor: SQLiteCursor, streams: Sequence[str] | None) -> list[Head]:
    if streams is None:
        cursor.execute(f"{_HEADS} ORDER BY stream")
    else:
        # One parameter for any number of names.
        cursor.execute(
            f"{_HEADS} WHERE stream IN (SELECT value FROM json_each(?)) ORDER BY stream",
            (json.dumps(streams),),
        )
    return [Head(*row) for row in cursor.fetchall()]


@contextmanager
def _any_text(cursor: SQLiteCursor) -> Iterator[None]:
    """Lets text be read that is not valid Unicode, which an audit has to survive."""
    connection = cursor.sqlite_cursor.connection
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        yield
    finally:
        connection.text_factory = str


def _fetch(cursor: SQLiteCursor, size: int) -> list[Row]:
    return [Row._make(row) for row in cursor.sqlite_cursor.fetchmany(size)]


class _Datastore(SQLiteDatastore):
    def __init__(self, path: Path, *, mode: Literal["ro", "rwc"]) -> None:
        super().__init__(f"file:{quote(str(path))}?mode={mode}", originator_id_type="text")
        self.reset()

    def reset(self) -> None:
        """A new pool: the library's stays locked for writers where no connection can be made."""
        self.pool.close()
        self.pool = _Pool(db_name=self.pool.db_name)

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with self.get_connection(commit=commit) as connection:
            try:
                with connection.transaction(commit=commit) as cursor:
                    yield cursor
            except BaseException:
                # After a failed COMMIT the transaction would still be open on it.
                connection.close()
                raise


class _Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        # The library's own have room for a single compiled statement, which BEGIN takes each time.
        try:
            connection = sqlite3.connect(
                self.db_name,
                uri=True,
                check_same_thread=False,
                isolation_level=None,
                timeout=self.lock_timeout or SQLITE3_DEFAULT_LOCK_TIMEOUT,
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise OperationalError(str(error)) from error
        self.is_journal_mode_wal = True
        connection.row_factory = sqlite3.Row
        return SQLiteConnection(connection, max_age=self.max_age)
