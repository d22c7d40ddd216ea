"""The runner next to writers of other processes, woken over NATS, and killed."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from actors import subjects
from actors.bus import Bus, Msg
from api.nats_server import BundledNats
from events.errors import StoreError
from events.open import open_store
from events.store import EventStore
from projections.database import Reader, open_reader
from projections.runner import Projected, ProjectionRunner
from tests.eventful_logs import eventful_log
from tests.projected import dump
from tests.session_logs import SessionLog, answered, append_all, session_config

ROOT = Path(__file__).parents[2]
SHOWN = ("turn.started", "model.answered")
NEVER = 3600.0  # seconds between two looks without a notice

FOLLOWER = """
import asyncio, sys
from pathlib import Path
from events.open import open_store
from projections.projector import Page
from projections.database import PROJECTORS
from projections.runner import ProjectionRunner

class Telling:
    name, version, ddl = "telling", 1, ()

    def apply(self, connection, page: Page) -> None:
        print(page[-1].sequence, flush=True)

async def main() -> None:
    store = open_store(sys.argv[1], read_only=True)
    runner = ProjectionRunner(
        store, Path(sys.argv[2]), projectors=(*PROJECTORS, Telling()), page=int(sys.argv[3])
    )
    await runner.catch_up()
    print("done", flush=True)
    await runner.close()
    await store.close()

asyncio.run(main())
"""


@asynccontextmanager
async def running(runner: ProjectionRunner) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(runner.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Progress:
    """Waits for the notices of a runner."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self.seen: list[int] = []

    async def hear(self, message: Msg) -> None:
        async with self._changed:
            self.seen.append(Projected.model_validate_json(message.data).sequence)
            self._changed.notify_all()

    async def reached(self, sequence: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: bool(self.seen) and self.seen[-1] >= sequence)


@pytest.fixture
async def bus(nats_server: BundledNats) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_server.url)
    yield bus
    await bus.close()


@pytest.fixture
async def progress(bus: Bus) -> Progress:
    progress = Progress()
    await bus.subscribe(subjects.PROJECTED, progress.hear)
    return progress


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path}/room.db")
    yield store
    await store.close()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return open_reader(tmp_path / "projections.db")


async def commit(store: EventStore, bus: Bus, log: SessionLog) -> None:
    """Append a log and give notice of it, as a router does."""
    await append_all(store, [log])
    await bus.publish(subjects.committed(log.stream), b"{}")


async def test_a_notice_wakes_the_runner_and_it_tells_how_far_it_has_come(
    bus: Bus, progress: Progress, store: EventStore, reader: Reader, tmp_path: Path
) -> None:
    early = eventful_log("early", Random(1))
    await append_all(store, [early])

    runner = ProjectionRunner(store, tmp_path / "projections.db", bus, poll=NEVER)
    async with running(runner):
        await progress.reached(len(early.events))  # what was there before
        for n in range(10):
            await commit(store, bus, eventful_log(f"s{n}", Random(n)))
            await progress.reached(await store.last())
            assert reader.tracked() == await store.last()
            assert reader.position(f"s{n}") > 0
    assert progress.seen == sorted(set(progress.seen))


async def test_many_commits_at_once_are_all_counted_in(
    bus: Bus, progress: Progress, store: EventStore, reader: Reader, tmp_path: Path
) -> None:
    logs = [eventful_log(f"s{n}", Random(n), actions=15) for n in range(40)]

    runner = ProjectionRunner(store, tmp_path / "projections.db", bus, page=50, poll=NEVER)
    async with running(runner):
        await asyncio.gather(*(commit(store, bus, log) for log in logs))
        await progress.reached(await store.last())

    assert {log.stream: reader.position(log.stream) for log in logs} == {
        log.stream: len(log.events) for log in logs
    }
    async with ProjectionRunner(store, tmp_path / "whole.db") as whole:
        await whole.catch_up()
    assert dump(tmp_path / "projections.db") == dump(tmp_path / "whole.db")


async def test_without_notices_the_runner_looks_by_itself(
    bus: Bus, progress: Progress, store: EventStore, reader: Reader, tmp_path: Path
) -> None:
    runner = ProjectionRunner(store, tmp_path / "projections.db", bus, poll=0.05)
    async with running(runner):
        for n in range(3):
            await append_all(store, [eventful_log(f"s{n}", Random(n))])  # and no notice
            await progress.reached(await store.last())
    assert reader.tracked() == await store.last()


async def test_the_runner_outlives_nats(
    nats_server: BundledNats,
    bus: Bus,
    progress: Progress,
    store: EventStore,
    tmp_path: Path,
) -> None:
    runner = ProjectionRunner(store, tmp_path / "projections.db", bus, poll=NEVER)
    async with running(runner):
        await commit(store, bus, eventful_log("before", Random(1)))
        await progress.reached(await store.last())
        await nats_server.stop()
        await append_all(store, [eventful_log("meanwhile", Random(2))])
        await nats_server.start()
        # The new connection is a reason to look; nothing else announces what was missed.
        await progress.reached(await store.last())
    assert open_reader(tmp_path / "projections.db").position("meanwhile") > 0


class Faulty:
    """A store that fails to be read until told otherwise."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.failing = True
        self.failed = asyncio.Event()

    async def read_all(self, after: int = 0, limit: int = 1000) -> object:
        if self.failing:
            self.failed.set()
            raise StoreError("the database is away", retryable=True)
        return await self._store.read_all(after, limit)


async def test_a_store_that_fails_is_tried_again(
    store: EventStore,
    tmp_path: Path,
    bus: Bus,
    progress: Progress,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await append_all(store, [eventful_log("s1", Random(1))])
    faulty = Faulty(store)
    runner = ProjectionRunner(
        faulty,  # type: ignore[arg-type]
        tmp_path / "projections.db",
        bus,
        poll=0.02,
    )
    async with running(runner):
        for _ in range(3):
            faulty.failed.clear()
            await asyncio.wait_for(faulty.failed.wait(), 30)
        faulty.failing = False
        await progress.reached(await store.last())
    told = [record for record in caplog.records if "stand still" in record.message]
    assert len(told) == 1  # once, and not for every try


@pytest.mark.parametrize("seed", range(2))
async def test_a_runner_that_is_killed_goes_on_where_it_was(
    store: EventStore, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    logs = [eventful_log(f"s{n}", random, actions=60) for n in range(6)]
    await append_all(store, logs, random)
    events = [event for log in logs for event in log.events]
    path = tmp_path / "projections.db"

    async def follow(pages: int) -> bool:
        """Runs a follower of its own process; kills it after so many pages. Whether it ended."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            FOLLOWER,
            f"sqlite:///{tmp_path}/room.db",
            str(path),
            str(len(events) // 8),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            for _ in range(pages):
                if await process.stdout.readline() in (b"done\n", b""):
                    return await process.wait() == 0
            process.send_signal(signal.SIGKILL)
            return await process.wait() == 0

    killed = 0
    while not await follow(random.randint(1, 4)):
        killed += 1

    assert killed > 1
    tables = dump(path)
    tables["tracking"] = [row for row in tables["tracking"] if row[0] != "telling"]
    tables["positions"] = [row for row in tables["positions"] if row[1] != "telling"]
    async with ProjectionRunner(store, tmp_path / "whole.db") as whole:
        await whole.catch_up()
    assert tables == dump(tmp_path / "whole.db")


async def test_who_reads_sees_whole_pages_only(
    store: EventStore, reader: Reader, tmp_path: Path
) -> None:
    log = SessionLog(session_config(participants=("ada",)))
    for n in range(60):
        log.post(f"message {n}")
        log.play(lambda key, asked: answered("yes", cost="0.01"))
    await append_all(store, [log])
    done = asyncio.Event()

    async def follow() -> None:
        async with ProjectionRunner(store, tmp_path / "projections.db", page=4) as runner:
            await runner.catch_up()
        done.set()

    def look() -> int:
        report, transcript = reader.costs("s1"), reader.transcript("s1", limit=1000)
        answers = sum(event.type == "model.answered" for event in log.events[: report.position])
        assert report.total.calls == answers
        assert report.total.cost * 100 == answers
        entries = [event for event in log.events[: transcript.position] if event.type in SHOWN]
        assert len(transcript.entries) == len(entries)
        return transcript.position

    seen = set()
    task = asyncio.create_task(follow())
    async with asyncio.timeout(60):
        while not done.is_set():
            seen.add(await asyncio.to_thread(look))
    await task
    seen.add(look())
    assert max(seen) == len(log.events)
    assert len(seen) > 2
