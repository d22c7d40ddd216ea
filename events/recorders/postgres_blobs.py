"""Long content by its SHA-256, in the table beside the events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import PersistenceError
from psycopg import Cursor
from psycopg.rows import TupleRow, tuple_row

from events.blobs import TEXT, checked
from events.errors import StoreError
from events.recorders.port import store_error
from events.recorders.postgres_database import Database, migrate
from events.values import Blob

LARGEST = 256 * 1024 * 1024
"""Most bytes of a blob: PostgreSQL holds a value, and its copies, in memory."""


class PostgresBlobs:
    """Blobs as rows of one table; a row that is there already is left as it is."""

    def __init__(self, url: str) -> None:
        migrate(url)
        self._database = Database(url, size=4, checked=True)

    def put(self, content: bytes, media_type: str = TEXT) -> Blob:
        blob = Blob.of(content, media_type)
        if blob.size > LARGEST:
            raise StoreError(
                f"a blob of {blob.size} bytes is too large: at most {LARGEST} are kept"
            )
        with self._cursor(f"writing blob {blob.sha256}") as cursor:
            cursor.execute(
                "INSERT INTO blobs VALUES (%b, %b) ON CONFLICT DO NOTHING",
                (bytes.fromhex(blob.sha256), content),
            )
        return blob

    def get(self, blob: Blob) -> bytes:
        with self._cursor(f"reading blob {blob.sha256}") as cursor:
            cursor.execute(
                "SELECT content FROM blobs WHERE sha256 = %b", (bytes.fromhex(blob.sha256),)
            )
            found = cursor.fetchone()
        return checked(blob, found[0] if found else None)

    def size(self, sha256: str) -> int | None:
        with self._cursor(f"reading blob {sha256}") as cursor:
            cursor.execute(
                "SELECT length(content) FROM blobs WHERE sha256 = %b", (bytes.fromhex(sha256),)
            )
            found = cursor.fetchone()
        return found[0] if found else None

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _cursor(self, doing: str) -> Iterator[Cursor[TupleRow]]:
        try:
            with (
                self._database.get_connection() as connection,
                connection.cursor(binary=True, row_factory=tuple_row) as cursor,
            ):
                yield cursor
        except PersistenceError as error:
            raise store_error(error, doing) from error
