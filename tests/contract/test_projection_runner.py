"""What the runner does with files of other releases, other stores and other runners."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from events.envelope import Recorded
from events.errors import StoreError
from events.open import open_store
from events.store import EventStore
from projections.costs import Costs
from projections.database import PROJECTORS, Reader
from projections.projector import Page, Projector
from projections.runner import ProjectionRunner
from projections.sessions import Sessions
from projections.transcript import Transcripts
from projections.writer import Writer
from tests.contract.projecting import catch_up, logs
from tests.eventful_logs import eventful_log
from tests.projected import dump
from tests.session_logs import append_all


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
    memory: EventStore, path: Path, reader: Reader
) -> None:
    await append_all(memory, logs(6))
    await catch_up(memory, path, projectors=(Sessions(), NewTranscripts(), Costs()))
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
    assert writer.tracked() == ((0, b""),) * len(PROJECTORS)
    writer.close()


async def test_a_file_that_is_none_of_ours_says_what_to_do(
    memory: EventStore, path: Path, reader: Reader
) -> None:
    await append_all(memory, logs(12, count=1))
    path.parent.mkdir()
    path.write_bytes(b"nothing that SQLite wrote " * 100)
    with pytest.raises(StoreError, match="may be deleted"):
        await catch_up(memory, path)
    with pytest.raises(StoreError, match="cannot be read"):
        reader.sessions()


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
