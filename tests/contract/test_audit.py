"""An audit over any event store and the blobs beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import psycopg
import pytest

from events.blobs import MemoryBlobs, named
from events.errors import StoreError
from events.open import open_blobs, open_store, sqlite_path
from events.store import BlobStore, EventStore
from events.types import ModelAnswered, ModelAsked, TurnStarted
from events.values import SPILL, Attachment, Blob
from projections.audit import audit
from tests.contract.projecting import logs
from tests.session_logs import SessionLog, answered, append_all, session_config


@pytest.fixture
def blobs(url: str) -> Iterator[BlobStore]:
    """The blobs beside the store."""
    with closing(open_blobs(url)) as blobs:
        yield blobs


def blobs_of(log: SessionLog) -> set[Blob]:
    return {blob for event in log.events for blob in named(event.data)}


async def written(store: EventStore, blobs: BlobStore, sessions: list[SessionLog]) -> None:
    """The sessions, and what they name, in the stores."""
    for log in sessions:
        for blob in blobs_of(log):
            blobs.put(log.blobs.get(blob))
    await append_all(store, sessions, Random(14))


async def test_an_audit_counts_what_it_checked(store: EventStore, blobs: BlobStore) -> None:
    sessions = logs(14)
    await written(store, blobs, sessions)

    report = await audit(store, blobs)

    assert report.intact
    assert (report.streams, report.events) == (3, sum(len(log.events) for log in sessions))
    assert report.blobs == len(set().union(*map(blobs_of, sessions))) > 0
    assert report.faults == ()
    one = await audit(store, blobs, "s1")
    assert one.intact
    assert (one.streams, one.events) == (1, len(sessions[1].events))


async def test_an_audit_names_the_first_fault_of_every_stream(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/room.db"
    store, blobs = open_store(url), open_blobs(url)
    sessions = logs(15)
    await written(store, blobs, sessions)
    await store.close()
    with closing(sqlite3.connect(tmp_path / "room.db")) as connection:
        connection.execute(
            "DELETE FROM stored_events WHERE originator_id = 's0' AND originator_version IN (3, 5)"
        )
        connection.execute("DELETE FROM heads WHERE stream = 's2'")
        connection.commit()

    store = open_store(url, read_only=True)
    report = await audit(store, blobs)
    await store.close()

    assert not report.intact
    assert report.streams == 3
    assert [(fault.stream, fault.position) for fault in report.faults] == [
        ("s0", 3),
        ("s2", len(sessions[2].events)),
    ]


def long_session(id: str) -> SessionLog:
    """Two turns whose messages and answers are long, and a picture."""
    log = SessionLog(session_config(id))
    blob = log.blobs.put(f"a picture of {id}".encode(), "image/png")
    picture = Attachment(**dict(blob), name="cat.png")
    for number in "12":
        message = log.blobs.put(f"message {number} in {id} ".encode() * SPILL)
        log.post(message, (picture,))
        log.play(partial(_long_answer, log, f" of turn {number} in {id} "))
    return log


def _long_answer(log: SessionLog, where: str, key: str, _: ModelAsked) -> ModelAnswered:
    return answered(log.blobs.put(f"{key}{where}".encode() * SPILL))


@pytest.mark.parametrize("damage", ["missing", "changed", "shorter"])
async def test_an_audit_names_the_first_event_whose_blob_is_not_what_it_was(
    store: EventStore, blobs: BlobStore, url: str, damage: str
) -> None:
    sessions = [long_session("s1"), long_session("s2")]
    await written(store, blobs, sessions)
    assert (await audit(store, blobs)).intact
    log = sessions[0].events
    second = [event for event in log if isinstance(event.data, TurnStarted)][1]
    assert isinstance(second.data, TurnStarted)
    assert second.data.message
    content = second.data.message.content
    later = [event.data.text for event in log if isinstance(event.data, ModelAnswered)][-1]
    assert isinstance(content, Blob)
    assert isinstance(later, Blob)
    for blob in (later, content):
        held = blobs.get(blob)
        spoil(url, blobs, blob, {"missing": None, "changed": held[::-1]}.get(damage, held[:-1]))
        with pytest.raises(StoreError):
            blobs.get(blob)

    for report in (await audit(store, blobs), await audit(store, blobs, "s1")):
        assert not report.intact
        (fault,) = report.faults
        assert (fault.stream, fault.position) == ("s1", second.position)
        assert content.sha256 in fault.what
    assert (await audit(store, blobs, "s2")).intact


async def test_every_session_that_names_a_lost_blob_is_reported(
    store: EventStore, blobs: BlobStore, url: str
) -> None:
    sessions = [long_session("s1"), long_session("s2")]
    await written(store, blobs, sessions)
    started = next(e.data for e in sessions[0].events if isinstance(e.data, TurnStarted))
    spoil(url, blobs, started.facts, None)
    faults = (await audit(store, blobs)).faults
    assert [(fault.stream, fault.position) for fault in faults] == [("s1", 2), ("s2", 2)]


async def test_an_attachment_that_is_lost_is_reported(
    store: EventStore, blobs: BlobStore, url: str
) -> None:
    sessions = [long_session("s1"), long_session("s2")]
    await written(store, blobs, sessions)
    started = next(e.data for e in sessions[1].events if isinstance(e.data, TurnStarted))
    assert started.message
    [picture] = started.message.attachments
    spoil(url, blobs, picture, None)
    [fault] = (await audit(store, blobs)).faults
    assert (fault.stream, fault.position) == ("s2", 2)
    assert picture.sha256 in fault.what


def spoil(url: str, blobs: BlobStore, blob: Blob, content: bytes | None) -> None:
    """What somebody could do who can write where blobs are kept; None takes it away."""
    if isinstance(blobs, MemoryBlobs):
        contents = vars(blobs)["_contents"]
        contents.pop(blob.sha256) if content is None else contents.update({blob.sha256: content})
    elif url.startswith("sqlite"):
        path = sqlite_path(url).with_suffix(".blobs") / blob.sha256[:2] / blob.sha256
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    else:
        where = bytes.fromhex(blob.sha256)
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM blobs WHERE sha256 = %b", (where,))
            if content is not None:
                connection.execute("INSERT INTO blobs VALUES (%b, %b)", (where, content))
