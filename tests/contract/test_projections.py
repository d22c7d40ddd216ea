"""What the projections do over any event store, and what readers may rely on."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import psycopg
import pytest

from events.envelope import Recorded
from events.errors import ConfigError, StoreError
from events.open import open_store
from events.store import EventStore
from projections.audit import audit
from projections.costs import Costs
from projections.database import PROJECTORS, open_reader
from projections.projector import Page, Projector
from projections.runner import ProjectionRunner
from projections.sessions import Sessions
from projections.transcript import Transcripts
from projections.writer import Writer
from tests.projected import dump
from tests.session_logs import SessionLog, append_all, eventful_log, session_config


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path}/room.db"
        case "postgres":
            return str(request.getfixturevalue("postgres_database"))
        case _:
            return "memory:"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    store = open_store(url)
    yield store
    await store.close()


@pytest.fixture
async def memory() -> AsyncIterator[EventStore]:
    store = open_store("memory:")
    yield store
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "projections.db"


def logs(seed: int, count: int = 3) -> list[SessionLog]:
    random = Random(seed)
    return [eventful_log(f"s{n}", random) for n in range(count)]


async def catch_up(store: EventStore, path: Path, **options: object) -> int:
    async with ProjectionRunner(store, path, **options) as runner:  # type: ignore[arg-type]
        return await runner.catch_up()


# --- every store ---------------------------------------------------------------------------------


async def test_everything_is_counted_in_and_the_positions_say_so(
    store: EventStore, path: Path
) -> None:
    written = logs(1)
    await append_all(store, written, Random(1))

    assert await catch_up(store, path) == await store.last()

    reader = open_reader(path)
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
    reader.close()


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


async def test_gaps_in_the_sequence_do_not_matter(postgres_database: str, path: Path) -> None:
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
    assert open_reader(path).transcript("s1").position == len(log.events)
    await store.close()


# --- the runner ----------------------------------------------------------------------------------


class NewTranscripts(Transcripts):
    """The same tables in another version, next to one that is there no more."""

    version = 99
    ddl = (*Transcripts.ddl, "CREATE TABLE transcript_extra (a)")


class Counting:
    """Counts what it is given, by event."""

    name = "counting"
    version = 1
    ddl = ("CREATE TABLE counting (sequence INTEGER PRIMARY KEY, times INTEGER NOT NULL)",)

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        connection.executemany(
            "INSERT INTO counting VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1",
            [(recorded.sequence,) for recorded in page],
        )


async def test_a_projection_of_another_version_is_made_anew_and_only_that_one(
    memory: EventStore, path: Path
) -> None:
    await append_all(memory, logs(5), Random(5))
    await catch_up(memory, path)
    before = dump(path)
    newer: tuple[Projector, ...] = (Sessions(), NewTranscripts(), Costs(), Counting())

    await catch_up(memory, path, projectors=newer, page=9)
    after = dump(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM counting WHERE sequence < 10")
        connection.commit()
    await catch_up(memory, path, projectors=newer)
    counted = dump(path)["counting"]
    await catch_up(memory, path)

    assert after["transcript"] == before["transcript"]
    assert ("transcript", 99) in [row[:2] for row in after["tracking"]]
    assert after["transcript_extra"] == []
    assert [times for _, times in after["counting"]] == [1] * await memory.last()
    assert len(counted) == await memory.last() - 9  # what was seen is not given again
    back = dump(path)
    assert "transcript_extra" not in back
    del back["counting"]
    back["tracking"] = [row for row in back["tracking"] if row[0] != "counting"]
    back["positions"] = [row for row in back["positions"] if row[1] != "counting"]
    assert back == before


async def test_a_reader_does_not_show_what_another_release_made(
    memory: EventStore, path: Path
) -> None:
    await append_all(memory, logs(6))
    await catch_up(memory, path, projectors=(Sessions(), NewTranscripts(), Costs()))
    reader = open_reader(path)
    assert reader.transcript("s0").entries == ()
    assert reader.transcript("s0").position == reader.position("s0") == reader.tracked() == 0
    assert len(reader.sessions().sessions) == 3
    await catch_up(memory, path)
    assert reader.transcript("s0").entries != ()
    assert reader.position("s0") > 0


async def test_the_projections_of_another_store_are_made_anew(
    memory: EventStore, path: Path, tmp_path: Path
) -> None:
    await append_all(memory, logs(7, count=2))
    await catch_up(memory, path)
    for seed, count in ((8, 6), (9, 1)):  # one with other events and more, one that is shorter
        other = open_store("memory:")
        await append_all(other, logs(seed, count))
        await catch_up(other, path)
        await catch_up(other, tmp_path / f"{seed}.db")
        assert dump(path) == dump(tmp_path / f"{seed}.db")
        await other.close()


async def test_two_runners_count_every_event_once(memory: EventStore, path: Path) -> None:
    projectors = (*PROJECTORS, Counting())
    first = ProjectionRunner(memory, path, projectors=projectors, page=3)
    second = ProjectionRunner(memory, path, projectors=projectors, page=5)
    for log in logs(10):
        await append_all(memory, [log])
        await first.catch_up()
        await second.catch_up()
    await append_all(memory, [eventful_log("last", Random(10))])
    await second.catch_up()
    await first.catch_up()
    await first.close()
    await second.close()
    assert [times for _, times in dump(path)["counting"]] == [1] * await memory.last()


async def test_a_page_that_does_not_follow_is_refused(memory: EventStore, path: Path) -> None:
    await append_all(memory, logs(11))
    writer = Writer(path, PROJECTORS)
    page = await memory.read_all(5)
    with pytest.raises(StoreError, match="changed by another process"):
        writer.apply(5, page)
    assert writer.tracked() == ((0, b""),) * 3
    writer.close()


async def test_a_file_that_is_none_of_ours_says_what_to_do(memory: EventStore, path: Path) -> None:
    await append_all(memory, logs(12, count=1))
    path.parent.mkdir()
    path.write_bytes(b"nothing that SQLite wrote " * 100)
    with pytest.raises(StoreError, match="may be deleted"):
        await catch_up(memory, path)
    with pytest.raises(StoreError, match="cannot be read"):
        open_reader(path).sessions()


@pytest.mark.parametrize("projector", PROJECTORS, ids=lambda one: one.name)
async def test_events_that_fit_nowhere_are_passed_over(
    projector: Projector, memory: EventStore, path: Path
) -> None:
    # Every single event, and every pair, on its own: no log that a room would write.
    events = [event for log in logs(13) for event in log.events]
    kinds = {event.type: event for event in events}
    alone = [[event] for event in kinds.values()]
    pairs = [[one, other] for one in kinds.values() for other in kinds.values()]
    writer = Writer(path, (projector,))
    sequence = 0
    for number, batch in enumerate(alone + pairs):
        page = [
            Recorded(sequence + n, replace(event, stream=f"s{number}", position=n))
            for n, event in enumerate(batch, 1)
        ]
        writer.apply(sequence, page)
        sequence += len(batch)
        assert writer.tracked()[0].sequence == sequence
    writer.close()


# --- readers -------------------------------------------------------------------------------------


async def test_before_the_file_exists_there_is_nothing_and_then_there_is(
    memory: EventStore, path: Path
) -> None:
    reader = open_reader(path)
    assert reader.tracked() == reader.position("s1") == 0
    assert reader.sessions().sessions == ()
    assert reader.session("s1") is None
    assert reader.transcript("s1").entries == ()
    assert reader.costs().total.calls == 0
    assert not path.exists()

    log = SessionLog(session_config())
    log.post("one")
    log.play()
    await append_all(memory, [log])
    await catch_up(memory, path)

    assert reader.tracked() == len(log.events)
    assert len(reader.transcript("s1").entries) == 4
    reader.close()
    with pytest.raises(StoreError, match="closed"):
        reader.tracked()


def summary_log(id: str, **config: object) -> SessionLog:
    log = SessionLog(session_config(id, **config))  # type: ignore[arg-type]
    log.post(f"hello {id} " + 300 * "x")
    return log


async def test_a_session_in_short(memory: EventStore, path: Path) -> None:
    log = summary_log("s1", title="Bridges", tags=["red", "blue"], is_youtube_run=True)
    log.post("and then?")
    await append_all(memory, [log])
    await catch_up(memory, path)

    session = open_reader(path).session("s1")

    assert session is not None
    assert (session.title, session.status, session.pattern) == ("Bridges", "active", "broadcast")
    assert (session.turns, session.open_turn, session.queued) == (2, "t1", 1)
    assert (session.tags, session.is_youtube_run) == (("red", "blue"), True)
    assert [(p.id, p.role, p.provider, p.model) for p in session.participants] == [
        (name, f"{name}'s role", "acme", f"{name}-1") for name in ("ada", "bob", "cyd")
    ]
    assert session.preview == "and then?"
    assert session.created_at == log.events[0].at
    assert session.updated_at == log.events[-1].at
    assert session.cost == 0


@pytest.mark.parametrize("seed", range(5))
async def test_turns_queue_and_status_are_those_of_the_session(
    memory: EventStore, path: Path, seed: int
) -> None:
    log = eventful_log("s1", Random(seed), actions=60)
    if seed % 2:
        log.close()
    await append_all(memory, [log])
    await catch_up(memory, path, page=17)

    found, session = open_reader(path).session("s1"), log.machine.session

    assert found is not None
    assert session.config is not None
    assert (found.status, found.turns) == (session.status, session.turn_count)
    assert found.queued == len(session.queue)
    assert found.open_turn == (session.open.id if session.open else None)
    assert (found.title, found.tags) == (session.config.title, session.config.tags)


async def test_a_long_message_shows_its_beginning(memory: EventStore, path: Path) -> None:
    log = summary_log("s1")
    await append_all(memory, [log])
    await catch_up(memory, path)
    session = open_reader(path).session("s1")
    assert session is not None
    assert session.preview == "hello s1 " + 191 * "x"


async def test_the_list_is_newest_first_and_stable_while_sessions_are_added(
    memory: EventStore, path: Path
) -> None:
    await append_all(memory, [summary_log(f"s{n}") for n in range(7)])
    await catch_up(memory, path)
    reader = open_reader(path)

    first = reader.sessions(limit=3)
    await append_all(memory, [summary_log("new")])
    await catch_up(memory, path)
    second = reader.sessions(limit=3, cursor=first.next)
    third = reader.sessions(limit=3, cursor=second.next)

    seen = [[one.id for one in page.sessions] for page in (first, second, third)]
    assert seen == [["s6", "s5", "s4"], ["s3", "s2", "s1"], ["s0"]]
    assert third.next is None
    assert reader.sessions(limit=8).next is None
    assert [one.id for one in reader.sessions(limit=1).sessions] == ["new"]
    assert reader.sessions(limit=3, cursor=first.next).sessions == second.sessions


async def test_the_list_by_tag_and_status(memory: EventStore, path: Path) -> None:
    tags = [["red"], ["red", "blue"], [], ["red"], ["blue"]]
    written = [summary_log(f"s{n}", tags=one) for n, one in enumerate(tags)]
    written[3].reconfigure(tags=["blue"])
    written[0].pause()
    written[1].close()
    await append_all(memory, written)
    await catch_up(memory, path)
    reader = open_reader(path)

    def listed(tag: str | None = None, status: str | None = None) -> list[str]:
        found, cursor = [], None
        while True:
            page = reader.sessions(1, cursor, tag, status)
            found += [one.id for one in page.sessions]
            if (cursor := page.next) is None:
                return found

    assert listed(tag="red") == ["s1", "s0"]
    assert listed(tag="blue") == ["s4", "s3", "s1"]
    assert listed(tag="green") == []
    assert listed(status="paused") == ["s0"]
    assert listed(status="closed") == ["s1"]
    assert listed(status="active") == ["s4", "s3", "s2"]
    assert listed(tag="blue", status="active") == ["s4", "s3"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "before:5", "YmVmb3JlOg", "YmVmb3JlOi01", "é", "YmVm b3JlOjU", "A" * 99]
)
async def test_a_cursor_that_no_page_gave_is_refused(
    memory: EventStore, path: Path, cursor: str
) -> None:
    await append_all(memory, [summary_log("s1")])
    await catch_up(memory, path)
    with pytest.raises(ConfigError, match="leave it out to begin with the newest"):
        open_reader(path).sessions(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(path: Path, limit: int) -> None:
    reader = open_reader(path)
    with pytest.raises(ConfigError, match="1 to 1000"):
        reader.sessions(limit)
    with pytest.raises(ConfigError, match="1 to 1000"):
        reader.transcript("s1", limit=limit)


async def test_a_status_that_is_none_is_refused(memory: EventStore, path: Path) -> None:
    with pytest.raises(ConfigError, match="use active, paused, closed"):
        open_reader(path).sessions(status="open")


# --- audit ---------------------------------------------------------------------------------------


async def test_an_audit_counts_what_it_checked(store: EventStore) -> None:
    written = logs(14)
    await append_all(store, written, Random(14))

    report = await audit(store)

    assert report.intact
    assert (report.streams, report.events) == (3, sum(len(log.events) for log in written))
    assert report.faults == ()
    one = await audit(store, "s1")
    assert (one.streams, one.events) == (1, len(written[1].events))


async def test_an_audit_names_the_first_fault_of_every_stream(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/room.db")
    written = logs(15)
    await append_all(store, written, Random(15))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "room.db")) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%originator_id%' AND type = 'table'"
        ).fetchone()
        connection.execute(
            f"DELETE FROM {table} WHERE originator_id = 's0' AND originator_version IN (3, 5)"
        )
        connection.execute("DELETE FROM heads WHERE stream = 's2'")
        connection.commit()

    store = open_store(f"sqlite:///{tmp_path}/room.db", read_only=True)
    report = await audit(store)
    await store.close()

    assert not report.intact
    assert report.streams == 3
    assert [(fault.stream, fault.position) for fault in report.faults] == [
        ("s0", 3),
        ("s2", len(written[2].events)),
    ]
