"""What readers of the projections may rely on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from events.errors import ConfigError, StoreError
from events.store import EventStore
from events.types import ModelDiscarded
from events.values import Usage
from projections.database import Reader
from tests.contract.projecting import catch_up
from tests.eventful_logs import eventful_log
from tests.session_logs import (
    SessionLog,
    answered,
    append_all,
    failed,
    session_config,
)


async def test_before_the_file_exists_there_is_nothing_and_then_there_is(
    memory: EventStore, path: Path, reader: Reader
) -> None:
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


def summary_log(id: str, **config: Any) -> SessionLog:
    log = SessionLog(session_config(id, **config))
    log.post(f"hello {id} " + 300 * "x")
    return log


async def test_a_session_in_short(memory: EventStore, path: Path, reader: Reader) -> None:
    log = summary_log("s1", title="Bridges", tags=["red", "blue"], is_youtube_run=True)
    log.post("and then?")
    await append_all(memory, [log])
    await catch_up(memory, path)

    session = reader.session("s1")

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
    memory: EventStore, path: Path, reader: Reader, seed: int
) -> None:
    log = eventful_log("s1", Random(seed), actions=60)
    if seed % 2:
        log.close()
    await append_all(memory, [log])
    await catch_up(memory, path, page=17)

    found, session = reader.session("s1"), log.machine.session

    assert found is not None
    assert session.config is not None
    assert (found.status, found.turns) == (session.status, session.turn_count)
    assert found.queued == len(session.queue)
    assert found.open_turn == (session.open.id if session.open else None)
    assert (found.title, found.tags) == (session.config.title, session.config.tags)


async def test_a_long_message_shows_its_beginning(
    memory: EventStore, path: Path, reader: Reader
) -> None:
    log = summary_log("s1")
    await append_all(memory, [log])
    await catch_up(memory, path)
    session = reader.session("s1")
    assert session is not None
    assert session.preview == "hello s1 " + 191 * "x"


async def test_a_session_counts_the_calls_that_no_price_is_known_for(
    memory: EventStore, path: Path, reader: Reader
) -> None:
    log = SessionLog(session_config("s1"))
    turn = log.post("hello")
    log.outcome("ask:ada:1", answered("priced", cost="0.5"))
    log.outcome("ask:bob:1", failed(partial="so", usage=Usage(input=3)))
    log.outcome("ask:cyd:1", failed("nothing was read"))
    log.give(
        ModelDiscarded(attempt=2, reason="duplicate", usage=Usage(input=9, output=1)),
        turn,
        "ask:ada:1",
    )
    await append_all(memory, [log])
    await catch_up(memory, path)

    session = reader.session("s1")
    assert session is not None
    assert (session.unpriced, session.cost) == (2, Decimal("0.5"))
    assert reader.costs().total.unpriced == 2
    assert reader.sessions().sessions == (session,)


async def test_the_list_is_newest_first_and_stable_while_sessions_are_added(
    memory: EventStore, path: Path, reader: Reader
) -> None:
    await append_all(memory, [summary_log(f"s{n}") for n in range(7)])
    await catch_up(memory, path)

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


async def test_the_list_by_tag_and_status(memory: EventStore, path: Path, reader: Reader) -> None:
    tags = [["red"], ["red", "blue"], [], ["red"], ["blue"]]
    written = [summary_log(f"s{n}", tags=one) for n, one in enumerate(tags)]
    written[3].reconfigure(tags=["blue"])
    written[0].pause()
    written[1].close()
    await append_all(memory, written)
    await catch_up(memory, path)

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
    memory: EventStore, path: Path, reader: Reader, cursor: str
) -> None:
    await append_all(memory, [summary_log("s1")])
    await catch_up(memory, path)
    with pytest.raises(ConfigError, match="leave it out to begin with the first"):
        reader.sessions(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(reader: Reader, limit: int) -> None:
    with pytest.raises(ConfigError, match="1 to 1000"):
        reader.sessions(limit)
    with pytest.raises(ConfigError, match="1 to 1000"):
        reader.transcript("s1", limit=limit)


def test_a_status_that_is_none_is_refused(reader: Reader) -> None:
    with pytest.raises(ConfigError, match="use active, paused, closed"):
        reader.sessions(status="open")
