"""What the SQLite store does besides: one writer, and nothing acknowledged is ever lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from events.errors import ConfigError, StoreError
from events.open import open_store
from events.store import EventStore
from tests.event_samples import notes, said

ROOT = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from events.open import open_store
from tests.event_samples import notes

async def session(store, name):
    for n in range(10**6):
        await store.append(name, 2 * n, notes(name, 2 * n, "x" * 500, "y"))
        print(name, 2 * n + 2, flush=True)

async def main():
    store = open_store(sys.argv[1])
    print("open", 0, flush=True)
    await asyncio.gather(*(session(store, f"s{n}") for n in range(20)))

asyncio.run(main())
"""

FULL_DISK = """
import asyncio, resource, signal, sys
from events.errors import StoreError
from events.open import open_store
from tests.event_samples import notes

async def main():
    store = open_store(sys.argv[1])
    await store.append("s", 0, notes("s", 0, "before"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, unlimited[1]))
    done = []
    for n in range(100):
        try:
            await store.append(f"f{n}", 0, notes(f"f{n}", 0, *"abcdefgh" * 5))
            done.append(n)
        except StoreError as error:
            assert error.retryable, error
            break
    else:
        raise AssertionError("the disk never filled")
    outcomes = await asyncio.gather(
        *(store.append(f"g{n}", 0, notes(f"g{n}", 0, *"abcdefgh" * 5)) for n in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(one, StoreError) for one in outcomes), outcomes
    assert len(await store.read("s")) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    await store.append(f"f{n}", 0, notes(f"f{n}", 0, *"abcdefgh" * 5))
    await store.append("s", 1, notes("s", 1, "after"))
    assert [fault async for fault in store.verify()] == []
    print("stored", len(await store.heads()), "of", len(done) + 2)
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    store = open_store(url)
    yield store
    await store.close()


@contextmanager
def running(code: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs `code` on the store."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def acknowledged(process: subprocess.Popen[str], count: int) -> dict[str, int]:
    """By stream, the last of the next `count` positions that the writer was told are durable."""
    assert process.stdout is not None
    return positions([process.stdout.readline() for _ in range(count)])


def positions(lines: list[str]) -> dict[str, int]:
    whole = (line.split() for line in lines if line.endswith("\n"))
    return {name: int(position) for name, position in whole if name != "open"}


async def faults(store: EventStore) -> list[object]:
    return [fault async for fault in store.verify()]


@pytest.mark.parametrize("after", [40, 400])
async def test_a_writer_that_is_killed_loses_nothing_acknowledged(url: str, after: int) -> None:
    with running(WRITER, url) as process:
        known = acknowledged(process, after)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].splitlines(keepends=True)
    known |= positions(rest)
    assert len(known) == 20
    store = open_store(url)
    for name, position in known.items():
        head = await store.head(name)
        assert head is not None
        assert head.position >= position
        assert head.position % 2 == 0, "half a batch"
        assert len(await store.read(name)) == head.position
        await store.append(name, head.position, notes(name, head.position, "it goes on"))
    assert await faults(store) == []
    await store.close()


async def test_a_reader_sees_a_store_whose_writer_was_killed(url: str) -> None:
    with running(WRITER, url) as process:
        known = acknowledged(process, 50)
        reader = open_store(url, read_only=True)
        assert await reader.last() >= 98
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert await faults(reader) == []
        for name, position in known.items():
            assert len(await reader.read(name)) >= position
        await reader.close()
    alone = open_store(url, read_only=True)
    assert await faults(alone) == []
    await alone.close()


async def test_a_second_writer_process_is_refused(url: str) -> None:
    with running(WRITER, url) as process:
        acknowledged(process, 1)
        with pytest.raises(
            StoreError, match=rf"process {process.pid}\) has events.db open"
        ) as error:
            open_store(url)
        assert not error.value.retryable
    store = open_store(url)
    await store.close()


async def test_a_second_writer_in_the_same_process_is_refused(store: EventStore, url: str) -> None:
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        open_store(url)


async def test_the_writer_lock_is_the_file_s_not_the_name_s(
    store: EventStore, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "other name.db"
    link.symlink_to(path)
    with pytest.raises(StoreError, match="another writer"):
        open_store(f"sqlite:///{link}")


async def test_a_full_disk_fails_the_append_and_nothing_else(url: str) -> None:
    with running(FULL_DISK, url) as process:
        said_ = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    words = said_.split()
    assert words[1] == words[3]


async def test_a_sequence_is_never_used_twice(store: EventStore, path: Path, url: str) -> None:
    await store.append("s", 0, notes("s", 0, "a", "b"))
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM stored_events WHERE originator_version = 2")
        database.execute("DELETE FROM heads")
        database.commit()
    again = open_store(url)
    await again.append("t", 0, notes("t", 0, "c"))
    assert await again.last() == 3
    await again.close()


async def test_every_commit_is_synced(store: EventStore, path: Path) -> None:
    await store.append("s", 0, notes("s", 0, "a"))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    datastore = store._recorder.datastore  # type: ignore[attr-defined]
    with datastore.transaction(commit=False) as cursor:
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2


async def test_events_without_a_head_are_not_built_upon(path: Path, url: str) -> None:
    store = open_store(url)
    await store.append("s", 0, notes("s", 0, "a"))
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM heads")
        database.commit()
    again = open_store(url)
    outcomes = await asyncio.gather(
        again.append("s", 0, notes("s", 0, "b")),
        again.append("t", 0, notes("t", 0, "c")),
        return_exceptions=True,
    )
    assert "does not know of it" in str(outcomes[0])
    assert said(await again.read("t")) == ["c"]
    await again.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
async def test_another_file_is_not_an_event_store(path: Path, url: str, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises((StoreError, ConfigError), match=r"events.db"):
        open_store(url, read_only=True)


async def test_a_database_of_somebody_else_is_left_alone(path: Path, url: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE stored_events (mine)")
        database.execute("PRAGMA user_version = 77")
        database.commit()
    with pytest.raises(ConfigError, match="schema is 77, not 1"):
        open_store(url)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


async def test_folders_are_made(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/a/b/events.db")
    await store.close()
    assert (tmp_path / "a/b/events.db").exists()
