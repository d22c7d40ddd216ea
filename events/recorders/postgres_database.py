"""The PostgreSQL database of a room: its connections and its tables."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, LiteralString

import psycopg
from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from events.errors import ConfigError, StoreError
from events.partitions import PARTITIONS, UNSAID, check_partitions

SCHEMA = 1
"""Version of the tables and functions, kept in `room_schema`."""

_PATIENCE = {
    "connect_timeout": 10,
    # A peer that vanished without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "control-room",
}


def advisory_lock(name: str) -> int:
    """The number of the database-wide lock of that name (PostgreSQL knows them by bigint)."""
    return int.from_bytes(sha256(f"control-room/{name}".encode()).digest()[:8], signed=True)


WRITING = advisory_lock("writing")
MIGRATING = advisory_lock("migrating")

_STATEMENTS = (
    """
    CREATE TABLE stored_events (
        notification_id bigserial NOT NULL,
        originator_id text NOT NULL,
        originator_version bigint NOT NULL,
        topic text NOT NULL,
        state bytea NOT NULL,
        PRIMARY KEY (originator_id, originator_version)
    )
    """,
    "CREATE UNIQUE INDEX stored_events_notification_id_idx ON stored_events (notification_id)",
    # Room on every page for the next version of a row: heads change all the time.
    """
    CREATE TABLE heads (
        stream text PRIMARY KEY,
        position bigint NOT NULL,
        hash bytea NOT NULL,
        open_turn text
    ) WITH (fillfactor = 50)
    """,
    "CREATE TABLE blobs (sha256 bytea PRIMARY KEY, content bytea NOT NULL)",
    # One round trip a transaction. The lock makes the order of the sequence the order of commits,
    # so that a reader who follows it misses nothing; it is held until the commit is visible.
    f"""
    CREATE FUNCTION append_to_stored_events(
        streams text[], positions bigint[], types text[], forms bytea[],
        head_streams text[], head_afters bigint[], head_positions bigint[],
        head_hashes bytea[], head_turns text[]
    ) RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE
        refused text[];
    BEGIN
        PERFORM pg_advisory_xact_lock({WRITING});
        SELECT coalesce(array_agg(n.stream), '{{}}') INTO refused
            FROM unnest(head_streams, head_afters) AS n (stream, after)
            LEFT JOIN heads AS h ON h.stream = n.stream
            WHERE coalesce(h.position, 0) <> n.after;
        INSERT INTO stored_events (originator_id, originator_version, topic, state)
            SELECT n.stream, n.position, n.type, n.form
            FROM unnest(streams, positions, types, forms) WITH ORDINALITY
                AS n (stream, position, type, form, place)
            WHERE n.stream <> ALL (refused)
            ORDER BY n.place;
        INSERT INTO heads (stream, position, hash, open_turn)
            SELECT n.stream, n.position, n.hash, n.turn
            FROM unnest(head_streams, head_positions, head_hashes, head_turns)
                AS n (stream, position, hash, turn)
            WHERE n.stream <> ALL (refused)
            ON CONFLICT (stream) DO UPDATE SET position = excluded.position,
                hash = excluded.hash, open_turn = excluded.open_turn;
        RETURN refused;
    END
    $$
    """,
    "CREATE TABLE room_schema (version integer NOT NULL)",
    f"INSERT INTO room_schema VALUES ({SCHEMA})",
)


class Database(PostgresDatastore):
    """A pool of connections to `url`, which may carry any parameter that libpq knows.

    `checked` asks each connection whether it still lives before it is used.
    """

    def __init__(self, url: str, *, size: int, checked: bool) -> None:
        given = _parameters(url)
        super().__init__(
            dbname="", host="", port="", user="", password="",
            pool_size=1, max_overflow=size - 1, pre_ping=checked, originator_id_type="text",
        )  # fmt: skip
        # The library passes on only some of the parameters.
        row_factory = {"row_factory": self.pool.kwargs["row_factory"]}  # type: ignore[index]
        self.pool.kwargs = {**_PATIENCE, **given, **row_factory}
        # Try once for each caller, rather than at growing intervals while callers wait.
        self.pool.reconnect_timeout = 0


def migrate(url: str, partitions: int = PARTITIONS) -> None:
    """Make the tables where there are none; safe to call from many processes at once.

    Raises `StoreError` where PostgreSQL does not answer, `ConfigError` for another schema, or
    another number of partitions.
    """
    with _connection(url) as connection:
        if _number(connection, "room_partitions") is None:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATING,))
                _make(connection, partitions)
        _check(connection, partitions)


def require(url: str, partitions: int = PARTITIONS) -> None:
    """Raise the error that fits where there are no tables that this release reads."""
    with _connection(url) as connection:
        _check(connection, partitions)


def _make(connection: psycopg.Connection, partitions: int) -> None:
    """Make what is missing; a database that was made before it kept `partitions` has `UNSAID`."""
    version = _version(connection)
    if version is None:
        for statement in _STATEMENTS:
            connection.execute(statement)
    elif version != SCHEMA or _number(connection, "room_partitions") is not None:
        return
    connection.execute("CREATE TABLE room_partitions (number integer NOT NULL)")
    kept = partitions if version is None else UNSAID
    connection.execute("INSERT INTO room_partitions VALUES (%s)", (kept,))


def _check(connection: psycopg.Connection, partitions: int) -> None:
    version = _version(connection)
    if version is None:
        raise ConfigError("the database has no event store: start a room on it first")
    if version != SCHEMA:
        raise ConfigError(
            f"the database's event store has schema {version}, this release reads {SCHEMA}"
        )
    kept = _number(connection, "room_partitions")
    check_partitions(UNSAID if kept is None else kept, partitions, "the database's event store")


def _version(connection: psycopg.Connection) -> int | None:
    return _number(connection, "room_schema")


def _number(connection: psycopg.Connection, table: LiteralString) -> int | None:
    """The only number of a table; None where there is no such table, or nothing in it."""
    # Not `to_regclass`: it may remember that there was no table before another process made it.
    found = connection.execute(
        "SELECT FROM pg_tables WHERE tablename = %s AND schemaname = ANY (current_schemas(false))",
        (table,),
    ).fetchone()
    if found is None:
        return None
    row = connection.execute(f"SELECT * FROM {table}").fetchone()
    return int(row[0]) if row else None


def _connection(url: str) -> psycopg.Connection:
    try:
        return psycopg.connect(**{**_PATIENCE, **_parameters(url)}, autocommit=True)
    except psycopg.Error as error:
        raise StoreError(f"PostgreSQL does not answer: {error}", retryable=True) from error


def _parameters(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # Its message may hold a part of the password.
        raise ConfigError(
            "the PostgreSQL URL is not one: write postgresql://user:password@host:port/database, "
            "with special characters of the password percent-encoded"
        ) from None
