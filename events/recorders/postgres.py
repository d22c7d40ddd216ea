"""Events in PostgreSQL: any number of writing processes, one round trip a transaction.

The library's own way of inserting locks the table, hangs on large batches and waits behind VACUUM;
its faster one lets followers miss events. Here a function takes an advisory lock, checks the heads
and inserts. Nothing is announced with NOTIFY: followers are woken by the room's own messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row

from events.envelope import Head
from events.partitions import PARTITIONS
from events.recorders.port import PAGE, Advance, Row, Snapshot, paged
from events.recorders.postgres_database import Database, migrate, require

READING = 6
"""Most connections for reading; one more is for writing."""

_COLUMNS = "notification_id, originator_id, originator_version, topic, state"
_HEADS = "SELECT stream, position, hash, open_turn FROM heads"
_APPEND = (
    "SELECT append_to_stored_events(%b::text[], %b::bigint[], %b::text[], %b::bytea[], "
    "%b::text[], %b::bigint[], %b::bigint[], %b::bytea[], %b::text[])"
)


class PostgresRecorder(PostgresApplicationRecorder):
    """The library's recorder with another way of inserting, and with heads.

    Opening it makes the tables where they are not there yet, unless it is `read_only`.
    """

    def __init__(self, url: str, *, read_only: bool = False, partitions: int = PARTITIONS) -> None:
        (require if read_only else migrate)(url, partitions)
        self._writing = Database(url, size=1, checked=False)
        super().__init__(Database(url, size=READING, checked=True))

    def create_table(self) -> None:
        """The tables are made by `migrate`."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, advances: Sequence[Advance] = (), **_: Any
    ) -> None:
        self.insert(stored_events, advances)

    def insert(self, events: Sequence[StoredEvent], advances: Sequence[Advance]) -> frozenset[str]:
        parameters = (
            [event.originator_id for event in events],
            [event.originator_version for event in events],
            [event.topic for event in events],
            [event.state for event in events],
            [head.stream for _, head in advances],
            [after for after, _ in advances],
            [head.position for _, head in advances],
            [head.hash for _, head in advances],
            [head.open_turn for _, head in advances],
        )
        with (
            self._writing.get_connection() as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            refused = cursor.execute(_APPEND, parameters, prepare=True).fetchone()
        return frozenset(refused[0] if refused else ())

    def rows(self, stream: str, after: int, limit: int | None) -> list[Row]:
        found = self._select(
            f"SELECT {_COLUMNS} FROM stored_events WHERE originator_id = %s "
            "AND originator_version > %s ORDER BY originator_version LIMIT %s",
            (stream, after, limit),
        )
        return [Row._make(row) for row in found]

    def rows_of_all(self, after: int, limit: int) -> list[Row]:
        found = self._select(
            f"SELECT {_COLUMNS} FROM stored_events WHERE notification_id > %s "
            "ORDER BY notification_id LIMIT %s",
            (after, limit),
        )
        return [Row._make(row) for row in found]

    def heads(self, streams: Sequence[str] | None = None) -> list[Head]:
        where = "" if streams is None else "WHERE stream = ANY (%s)"
        parameters = () if streams is None else (list(streams),)
        found = self._select(f'{_HEADS} {where} ORDER BY stream COLLATE "C"', parameters)
        return [Head(*row) for row in found]

    def last(self) -> int:
        found = self._select("SELECT max(notification_id) FROM stored_events", ())
        return found[0][0] or 0

    def streams(self) -> list[str]:
        found = self._select(
            'SELECT name COLLATE "C" FROM (SELECT originator_id FROM stored_events '
            "UNION SELECT stream FROM heads) AS names (name) ORDER BY 1",
            (),
        )
        return [name for (name,) in found]

    @contextmanager
    def snapshot(self, stream: str) -> Iterator[Snapshot]:
        with self.datastore.get_connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
                found = cursor.execute(f"{_HEADS} WHERE stream = %s", (stream,)).fetchone()
            with connection.cursor("audit", binary=True, row_factory=tuple_row) as cursor:
                cursor.execute(
                    f"SELECT {_COLUMNS} FROM stored_events WHERE originator_id = %s "
                    "ORDER BY originator_version, notification_id",
                    (stream,),
                )

                def pages() -> Iterator[list[Row]]:
                    while page := cursor.fetchmany(PAGE):
                        yield [Row._make(row) for row in page]

                yield Snapshot(Head(*found) if found else None, paged(pages()))

    def reconnect(self) -> None:
        # A broken connection is left out when it comes back to the pool; this finds idle ones.
        self._writing.pool.check()

    def close(self) -> None:
        self._writing.close()
        self.datastore.close()

    def _select(self, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with (
            self.datastore.get_connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            return cursor.execute(statement, parameters, prepare=True).fetchall()
