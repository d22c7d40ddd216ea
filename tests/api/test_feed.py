"""Following a session whose log and pieces the test makes itself, in an order of its choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from actors import subjects
from actors.bus import Bus
from actors.notices import write_notice
from api import feed as feed_module
from api.delta_stream import stored_pieces
from api.following import Feeds, Follower
from api.problems import ProblemError
from api.shown import Committed, Piece, Shown
from events.open import open_store
from events.store import EventStore
from tests.sessions import Driven
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("nats_url")


class Session:
    """A session that the test writes."""

    def __init__(self, name: str, bus: Bus, store: EventStore, models: str = "ab") -> None:
        self.name = name
        self.driven = Driven(names=models, session_id=name)
        self.feeds = Feeds(bus, store)
        self._bus = bus
        self._store = store
        self._written = 0

    async def commit(self, *, notice: bool = True) -> int:
        """Append what was driven since; returns the position."""
        batches = self.driven.batches[self._written :]
        for batch in batches:
            await self._store.append(self.name, batch[0].position - 1, batch)
        self._written = len(self.driven.batches)
        position = self.driven.log[-1].position
        if notice:
            await self.say(orjson.dumps({"stream": self.name, "position": position}))
        return position

    async def say(self, notice: bytes) -> None:
        """Publish a notice."""
        await self._bus.publish(subjects.committed(self.name), notice)

    async def piece(self, step: str, seq: int, text: str, *, turn: str = "t1") -> None:
        """Publish a piece as a model's actor does; returns when NATS keeps it."""
        said = {
            "type": "delta",
            "turn": turn,
            "step": step,
            "attempt": 1,
            "participant": step.split(":")[1],
            "channel": "text",
            "seq": seq,
            "text": text,
        }
        await self._bus.publish(subjects.delta(self.name, turn, step, 1), orjson.dumps(said))

        async def kept() -> Any:
            stored = await stored_pieces(self._bus, self.name, [(turn, step)])
            return any(orjson.loads(data)["seq"] == seq for _, data in stored)

        await eventually(kept, within=10, what="the piece in the DELTAS stream")


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(nats_url)
    yield bus
    await bus.close()


@pytest.fixture
async def session(bus: Bus, request: pytest.FixtureRequest) -> AsyncIterator[Session]:
    store = open_store("memory:")
    session = Session(request.node.name.replace("[", "_").replace("]", "")[:64], bus, store)
    await session.feeds.start()
    await session.commit()
    yield session
    await session.feeds.close()
    await store.close()


async def take(follower: Follower, count: int) -> list[str]:
    """So many items: types of events, and pieces as `step@seq`."""
    told: list[str] = []
    async with asyncio.timeout(10):
        while len(told) < count:
            told += names(await follower.next())
    return told


async def last(follower: Follower, position: int) -> Shown:
    """The item that shows the event at `position`."""
    async with asyncio.timeout(10):
        while True:
            for item in await follower.next():
                if not isinstance(item, Piece) and item.position == position:
                    return item


def names(shown: Sequence[Shown]) -> list[str]:
    told = []
    for item in shown:
        if isinstance(item, Piece):
            tree = orjson.loads(item.frame)
            told.append(f"{tree['step']}@{tree['seq']}")
        else:
            told.append(item.type)
    return told


async def test_events_in_a_notice_are_shown_as_they_are(session: Session) -> None:
    async with session.feeds.follow(session.name, 1) as follower:
        session.driven.post()
        await session.commit()
        await take(follower, 3)
        session.driven.answer("ask:a:1", "Aah")
        notice = write_notice(session.driven.batches[-1])
        # Not in the log yet, so the event can come from nowhere else.
        # A notice that comes while the log is being read only has it read again.
        showing = asyncio.create_task(take(follower, 1))
        while not showing.done():
            await session.say(notice)
            await asyncio.wait({showing}, timeout=0.05)
        assert showing.result() == ["model.answered"]
        await session.say(notice)
        session.driven.answer("ask:b:1", "Beh")
        await session.commit()
        assert await take(follower, 2) == ["model.answered", "turn.completed"]


async def test_a_notice_behind_a_gap_has_the_log_read(session: Session) -> None:
    async with session.feeds.follow(session.name, 1) as follower:
        session.driven.post()
        await session.commit(notice=False)
        session.driven.answer("ask:a:1", "Aah")
        await session.commit(notice=False)
        await session.say(write_notice(session.driven.batches[-1]))
        assert await take(follower, 4) == [
            "turn.started",
            "model.asked",
            "model.asked",
            "model.answered",
        ]


async def test_a_piece_waits_for_its_question(session: Session) -> None:
    async with session.feeds.follow(session.name, 1, pieces=True) as follower:
        await session.piece("ask:a:1", 0, "Too ")
        await session.piece("ask:a:1", 4, "early")
        session.driven.post()
        await session.commit()
        assert await take(follower, 5) == [
            "turn.started",
            "model.asked",
            "ask:a:1@0",
            "ask:a:1@4",
            "model.asked",
        ]


async def test_pieces_after_the_answer_and_repeated_ones_are_dropped(session: Session) -> None:
    session.driven.post()
    await session.commit()
    async with session.feeds.follow(session.name, 4, pieces=True) as follower:
        for seq, text in ((0, "One "), (0, "One "), (4, "two")):
            await session.piece("ask:a:1", seq, text)
        assert await take(follower, 2) == ["ask:a:1@0", "ask:a:1@4"]
        session.driven.answer("ask:a:1", "One two")
        await session.commit()
        assert await take(follower, 1) == ["model.answered"]
        await session.piece("ask:a:1", 7, " three")
        await session.piece("ask:b:1", 0, "Mine")
        assert await take(follower, 1) == ["ask:b:1@0"]


async def test_a_gap_is_filled_from_what_nats_keeps(session: Session) -> None:
    await session.piece("ask:a:1", 0, "Before anyone listens. ")
    async with session.feeds.follow(session.name, 1, pieces=True) as follower:
        await session.piece("ask:a:1", 23, "After.")
        session.driven.post()
        await session.commit()
        told = await take(follower, 5)
    # Reading what NATS keeps takes a while, so the other question may be shown before or after.
    assert sorted(told) == ["ask:a:1@0", "ask:a:1@23", "model.asked", "model.asked", "turn.started"]
    assert told[:2] == ["turn.started", "model.asked"]
    assert told.index("ask:a:1@0") < told.index("ask:a:1@23")


async def test_what_nats_lost_is_not_waited_for(session: Session) -> None:
    session.driven.post()
    await session.commit()
    async with session.feeds.follow(session.name, 4, pieces=True) as follower:
        await session.piece("ask:a:1", 100, "The rest")
        assert await take(follower, 1) == ["ask:a:1@100"]


async def test_who_joins_gets_the_open_steps_and_not_the_ended_ones(session: Session) -> None:
    session.driven.post()
    await session.commit()
    async with session.feeds.follow(session.name, 0, pieces=True) as first:
        await session.piece("ask:a:1", 0, "Aah")
        await session.piece("ask:b:1", 0, "Beh")
        session.driven.answer("ask:a:1", "Aah")
        await session.commit()
        await take(first, 7)
        async with session.feeds.follow(session.name, 2, pieces=True) as second:
            assert await take(second, 4) == [
                "model.asked",
                "model.asked",
                "model.answered",
                "ask:b:1@0",
            ]
            await session.piece("ask:b:1", 3, "!")
            assert await take(second, 1) == ["ask:b:1@3"]
        async with session.feeds.follow(session.name, 5) as plain:
            session.driven.answer("ask:b:1", "Beh!")
            await session.commit()
            assert await take(plain, 2) == ["model.answered", "turn.completed"]


async def test_a_slow_follower_loses_pieces_and_no_event(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MOST_SHOWN", 6)
    session.driven.post()
    await session.commit()
    async with (
        session.feeds.follow(session.name, 4, pieces=True) as slow,
        session.feeds.follow(session.name, 4, pieces=True) as quick,
    ):
        await session.piece("ask:a:1", 0, "x")
        assert await take(slow, 1) == await take(quick, 1) == ["ask:a:1@0"]
        for seq in range(1, 9):
            await session.piece("ask:a:1", seq, "x")
            assert await take(quick, 1) == [f"ask:a:1@{seq}"]
        session.driven.answer("ask:b:1", "Beh")
        await session.commit()
        assert await take(quick, 1) == ["model.answered"]
        assert await take(slow, 1) == ["model.answered"]
        rest = asyncio.create_task(take(slow, 6))
        await session.piece("ask:a:1", 9, "x")
        assert await take(quick, 1) == ["ask:a:1@9"]
        session.driven.answer("ask:a:1", "x" * 10)
        session.driven.post("Again")
        await session.commit()
        expected = ["model.answered", "turn.completed", "turn.started", *["model.asked"] * 2]
        assert await take(quick, 5) == expected
        await session.piece("ask:b:1", 0, "Beh", turn="t2")
        assert await take(quick, 1) == ["ask:b:1@0"]
        # Nothing more of the answer that it knew in part, and all of what it had not met.
        assert await rest == [*expected, "ask:b:1@0"]


async def test_events_come_without_a_notice(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "PAUSE", 0.05)
    async with session.feeds.follow(session.name, 1) as follower:
        session.driven.post()
        await session.commit(notice=False)
        assert await take(follower, 3) == ["turn.started", *["model.asked"] * 2]


async def test_a_long_history_is_read_in_pages(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "PAGE", 3)
    for _ in range(5):
        session.driven.post()
        session.driven.answer("ask:a:1")
        session.driven.answer("ask:b:1")
    last = await session.commit()
    positions: list[int] = []
    async with session.feeds.follow(session.name, 0) as follower:
        while len(positions) < last:
            shown = await follower.next()
            assert len(shown) <= 3
            positions += [item.position for item in shown if isinstance(item, Committed)]
    assert positions == list(range(1, last + 1))


async def test_a_feed_is_shared_and_outlives_a_short_absence(session: Session) -> None:
    async with (
        session.feeds.follow(session.name, 0) as one,
        session.feeds.follow(session.name, 0) as other,
    ):
        # The beginning is read for each; what happens from here on is shown to both.
        assert names(await one.next()) == names(await other.next()) == ["session.created"]
        session.driven.post()
        position = await session.commit()
        later = await last(one, position), await last(other, position)
        assert later[0] is later[1]
    async with session.feeds.follow(session.name, 1) as back:
        assert await last(back, position) is later[0]


async def test_who_wants_what_is_not_there_is_told(session: Session) -> None:
    with pytest.raises(ProblemError, match="no session 'nowhere'"):
        async with session.feeds.follow("nowhere", 0):
            pass
    with pytest.raises(ProblemError, match="beyond the last event, which is 1"):
        async with session.feeds.follow(session.name, 2):
            pass
