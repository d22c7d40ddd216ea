"""The PostgreSQL of the tests is real, and durable through `kill -9`."""

from __future__ import annotations

import psycopg
import pytest

from tests.servers.postgres import PostgresServer


async def test_postgres_is_version_18_and_durable(postgres_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_dsn) as connection:
        cursor = await connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000,"
            " current_setting('fsync'), current_setting('synchronous_commit')"
        )
        assert await cursor.fetchone() == (18, "on", "on")


async def test_postgres_gives_each_test_an_empty_database(postgres_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_database) as connection:
        await connection.execute("CREATE TABLE word (text text PRIMARY KEY)")
        await connection.execute("INSERT INTO word VALUES ('ünïcode')")
        await connection.commit()
        cursor = await connection.execute("SELECT text FROM word")
        assert await cursor.fetchall() == [("ünïcode",)]
        tables = await connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        assert await tables.fetchall() == [("word",)]


def test_postgres_refuses_a_wrong_password(postgres_dsn: str) -> None:
    user, _, address = postgres_dsn.rpartition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{user}x@{address}")


def test_postgres_killed_keeps_what_was_committed(postgres_server: PostgresServer) -> None:
    url = postgres_server.url()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE word (text text PRIMARY KEY)")
        connection.execute("INSERT INTO word VALUES ('committed')")
    undecided = psycopg.connect(url)
    undecided.execute("INSERT INTO word VALUES ('undecided')")

    postgres_server.kill()
    while_down = postgres_server.pid
    assert while_down is None
    with pytest.raises(psycopg.OperationalError):
        undecided.commit()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(url)

    postgres_server.restart()
    assert postgres_server.url() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT text FROM word").fetchall() == [("committed",)]
