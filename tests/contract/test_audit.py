"""An audit over any event store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

from events.open import open_store
from events.store import EventStore
from projections.audit import audit
from tests.contract.projecting import logs
from tests.session_logs import append_all


async def test_an_audit_counts_what_it_checked(store: EventStore) -> None:
    written = logs(14)
    await append_all(store, written, Random(14))

    report = await audit(store)

    assert report.intact
    assert (report.streams, report.events) == (3, sum(len(log.events) for log in written))
    assert report.faults == ()
    one = await audit(store, "s1")
    assert one.intact
    assert (one.streams, one.events) == (1, len(written[1].events))


async def test_an_audit_names_the_first_fault_of_every_stream(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/room.db")
    written = logs(15)
    await append_all(store, written, Random(15))
    await store.close()
    with closing(sqlite3.connect(tmp_path / "room.db")) as connection:
        connection.execute(
            "DELETE FROM stored_events WHERE originator_id = 's0' AND originator_version IN (3, 5)"
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
