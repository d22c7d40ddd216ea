"""What waits for a person in all sessions is what each session says that waits."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.routes.approvals import Approvals
from events.envelope import Event
from events.open import open_store
from events.session import Session
from events.store import EventStore
from events.tools import ApprovalRequested, ElicitationRequested, ToolCancelled, ToolUse
from events.types import Payload, TurnCompleted
from projections.database import Reader, open_reader
from projections.runner import ProjectionRunner
from tests.eventful_logs import eventful_log
from tests.session_logs import BEGIN, append_all


async def told(store: EventStore, sessions: list[str]) -> list[dict[str, Any]]:
    """What waits by the state of each session."""
    found: list[dict[str, Any]] = []
    for id in sessions:
        session = Session(id)
        for event in await store.read(id):
            session.apply(event)
        own = Approvals.of(session)
        found += [{"session_id": id, **dict(one)} for one in (*own.approvals, *own.questions)]
    return found


def listed(reader: Reader, limit: int) -> list[dict[str, Any]]:
    """What waits by the projection, in pages of that size."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = reader.waiting(limit, cursor)
        assert len(page.waiting) <= limit
        found += [dict(one) for one in page.waiting]
        if (cursor := page.next) is None:
            break
    return [
        {name: value for name, value in one.items() if name not in ("kind", "since")}
        for one in found
    ]


def by_place(waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(waiting, key=lambda one: str((one["session_id"], one["step"], one)))


@given(seed=st.integers(0, 2**32), size=st.integers(1, 40), limit=st.integers(1, 5))
def test_all_sessions_together_say_what_each_of_them_says(seed: int, size: int, limit: int) -> None:
    async def check(folder: Path) -> None:
        random = Random(seed)
        logs = [eventful_log(f"s{n}", random, random.randint(1, 25)) for n in range(3)]
        store = open_store("memory:")
        await append_all(store, logs)
        async with ProjectionRunner(store, folder / "one.db", page=size) as runner:
            await runner.catch_up()
        reader = open_reader(folder / "one.db")
        expected = await told(store, [log.stream for log in logs])
        assert by_place(listed(reader, limit)) == by_place(expected)
        assert reader.waiting().position == await store.last()
        reader.close()
        await store.close()

    with TemporaryDirectory() as folder:
        anyio.run(check, Path(folder))


@pytest.mark.parametrize("over", [ToolCancelled(reason="race_lost"), TurnCompleted()])
def test_nothing_waits_for_what_is_over(
    over: ToolCancelled | TurnCompleted, tmp_path: Path
) -> None:
    use = ToolUse(name="files__delete", arguments="{}")
    wanted = ApprovalRequested(use=use, server="files", tool="delete")
    asked = ElicitationRequested(attempt=1, id="e1", message="Which?")
    step = "call:files__delete:1"

    def event(position: int, data: Payload, step: str | None) -> Event:
        return Event("s1", position, BEGIN, "test", data, turn="t1", step=step)

    async def check() -> None:
        store = open_store("memory:")
        reader = open_reader(tmp_path / "one.db")
        async with ProjectionRunner(store, tmp_path / "one.db") as runner:
            await store.append("s1", 0, [event(1, wanted, step), event(2, asked, step)])
            await runner.catch_up()
            assert [one.kind for one in reader.waiting().waiting] == ["approval", "question"]
            own = step if isinstance(over, ToolCancelled) else None
            await store.append("s1", 2, [event(3, over, own), event(4, asked, step)])
            await runner.catch_up()
        assert reader.waiting().waiting == ()
        reader.close()
        await store.close()

    anyio.run(check)
