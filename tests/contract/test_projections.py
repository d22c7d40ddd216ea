"""What the projections do over any event store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import psycopg

from events.open import open_store
from events.store import EventStore
from projections.database import Reader
from projections.runner import ProjectionRunner
from tests.contract.projecting import catch_up, logs
from tests.projected import dump
from tests.session_logs import SessionLog, append_all, session_config


async def test_everything_is_counted_in_and_the_positions_say_so(
    store: EventStore, path: Path, reader: Reader
) -> None:
    written = logs(1)
    await append_all(store, written, Random(1))

    assert await catch_up(store, path) == await store.last()

    assert reader.tracked() == await store.last()
    for log in written:
        position = len(log.events)
        assert reader.position(log.stream) == position
        assert reader.transcript(log.stream).position == position
        assert reader.costs(log.stream).position == position
        session = reader.session(log.stream)
        assert session is not None
        assert session.position == position
    assert reader.sessions().position == reader.costs().position == await store.last()
    assert reader.position("s9") == 0
    assert reader.session("s9") is None


async def test_pages_of_any_size_and_what_is_added_later_lead_to_the_same_tables(
    store: EventStore, tmp_path: Path
) -> None:
    pages = {size: tmp_path / f"{size}.db" for size in (1, 7, 1000)}
    for seed in (2, 3):
        written = [replace_stream(log, seed) for log in logs(seed)]
        await append_all(store, written, Random(seed))
        for size, path in pages.items():
            await catch_up(store, path, page=size)

    whole = tmp_path / "whole.db"
    await catch_up(store, whole)
    for path in pages.values():
        assert dump(path) == dump(whole)
    assert len(dump(whole)["sessions"]) == 6


def replace_stream(log: SessionLog, seed: int) -> SessionLog:
    """The log under a name that other seeds do not have."""
    log.stream = f"{log.stream}-{seed}"
    log.batches = [[replace(event, stream=log.stream) for event in batch] for batch in log.batches]
    return log


async def test_a_rebuild_gives_what_was_there(store: EventStore, path: Path) -> None:
    await append_all(store, logs(4), Random(4))
    await catch_up(store, path, page=11)
    before = dump(path)
    async with ProjectionRunner(store, path, page=13) as runner:
        assert await runner.rebuild() == await store.last()
    assert dump(path) == before


async def test_gaps_in_the_sequence_do_not_matter(
    postgres_database: str, path: Path, reader: Reader
) -> None:
    store = open_store(postgres_database)
    log = SessionLog(session_config())
    log.post("one")
    log.play()
    for index, batch in enumerate(log.batches):
        await store.append("s1", batch[0].position - 1, batch)
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            for _ in range(index):
                connection.execute(
                    "SELECT nextval(format('%I.%I', schemaname, sequencename)::regclass) "
                    "FROM pg_sequences"
                ).fetchone()
        assert await catch_up(store, path, page=2) == await store.last()
    assert await store.last() > len(log.events)
    assert reader.transcript("s1").position == len(log.events)
    await store.close()
