"""Budgets on the wire: however many turns run at once, no more is spent than was allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from actors.providers.config import ProviderSpec
from events.account import PREFIX, Account, call_of
from events.envelope import Event, Head
from events.errors import StoreError
from events.session import Session
from events.store import EventStore
from events.types import (
    BudgetOverrun,
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
    ModelFailed,
    ModelReasked,
)
from tests.rooms import LocalRoom, local_room
from tests.sound_log import assert_sound
from tests.waiting import eventually

SOLD = ProviderSpec(
    id="sold",
    type="rehearsal",
    config={"pace": 20, "prices": {"*": {"input": 1000, "output": 1000, "request": "0.01"}}},
)
"""A tenth of a cent a token, and a cent a call."""
DAY = Decimal("3.50")


def seats(names: str = "a b", model: str = "instant", **more: Any) -> dict[str, Any]:
    return {
        "models": [
            {"id": name, "provider": "sold", "model_name": model, "max_tokens": 60, **more}
            for name in names.split()
        ]
    }


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[LocalRoom]:
    async with local_room(tmp_path, SOLD, daily_budget=str(DAY)) as room:
        yield room


async def account(room: LocalRoom) -> Account:
    [stream] = [h.stream for h in await room.store.heads() if h.stream.startswith(PREFIX)]
    folded = Account(stream)
    for event in await room.store.read(stream):
        folded.apply(event)
    return folded


def paid(events: list[Event]) -> Decimal:
    outcomes = [e.data for e in events if isinstance(e.data, PAID) and e.data.cost]
    return sum((one.cost.amount for one in outcomes if one.cost), Decimal(0))


PAID = (ModelAnswered, ModelFailed, ModelDiscarded)


async def everything(room: LocalRoom) -> list[Event]:
    return [recorded.event for recorded in await room.store.read_all(0, 100_000)]


async def settled(room: LocalRoom) -> Account:
    """The account, when it holds nothing but for calls that nobody heard of any more."""

    async def nothing_open() -> bool:
        silent = {
            (e.stream, e.turn, e.step, e.data.attempt - 1)
            for e in await everything(room)
            if isinstance(e.data, ModelReasked)
        }
        return {call_of(one) for one in (await account(room)).open} <= silent

    await eventually(nothing_open, within=20, what="everything is settled")
    return await account(room)


async def test_a_hundred_turns_at_once_spend_no_more_than_the_day_allows(room: LocalRoom) -> None:
    names = [f"s{number}" for number in range(100)]
    for name in names:
        await room.create(name, **seats())
    posted = await asyncio.gather(*(room.post(name, wait=60) for name in names))
    states = [turn["status"] for turn in posted]
    assert set(states) == {"completed", "failed"}
    spent = paid(await everything(room))
    final = await settled(room)
    assert 0 < spent == final.spent <= DAY
    # What was held for calls that came cheaper can be spent by those who come later.
    while (await room.post("s0", "More", wait=60))["status"] == "completed":
        pass
    asked = [e.data for e in await everything(room) if isinstance(e.data, ModelAsked)]
    dearest = max(one.reserved or Decimal(0) for one in asked)
    final = await settled(room)
    assert DAY - 2 * dearest < paid(await everything(room)) == final.spent <= DAY
    refused = next(turn for turn, state in zip(posted, states, strict=True) if state == "failed")
    turn = (await room.http.get(f"/v1/sessions/{names[posted.index(refused)]}/events")).text
    assert "the account's budget of $3.50 does not allow the call" in turn
    await assert_sound(room.store, room.blobs, {})


async def test_what_a_router_left_unsettled_is_settled_by_the_next(room: LocalRoom) -> None:
    names = [f"s{number}" for number in range(6)]
    for name in names:
        await room.create(name, **seats(model="steady"))
    for name in names:
        await room.post(name)

    async def some_answered() -> bool:
        return sum(isinstance(e.data, ModelAnswered) for e in await everything(room)) >= 3

    await eventually(some_answered, within=20, what="some have answered")
    await room.stop_router()
    await room.start_router()
    for name in names:
        answer = await room.post(name, "And now?", wait=60)
        assert answer["status"] in ("completed", "failed")
    final = await settled(room)
    assert final.spent == paid(await everything(room)) <= DAY
    await assert_sound(room.store, room.blobs, {})


async def test_what_is_called_off_is_given_back(room: LocalRoom) -> None:
    await room.create("s1", **seats(model="slow"))
    turn = (await room.post("s1"))["turn"]

    async def asked() -> bool:
        return any(isinstance(e.data, ModelAsked) for e in await everything(room))

    await eventually(asked, within=10, what="somebody is asked")
    assert (await account(room)).held > 0
    await room.http.post(f"/v1/sessions/s1/turns/{turn}/cancel")
    final = await settled(room)
    assert final.spent == paid(await everything(room))


async def held(room: LocalRoom, name: str) -> Decimal:
    """What the session's own budget holds."""
    session = Session(name)
    for event in await room.store.read(name):
        session.apply(event)
    return session.ledger.held(None)


async def nothing_held(room: LocalRoom, name: str) -> None:
    async def free() -> bool:
        return await held(room, name) == 0

    await eventually(free, within=20, what="the session holds nothing")


async def test_calls_that_were_cancelled_before_they_were_sent_hold_nothing(
    room: LocalRoom,
) -> None:
    await room.create("s1", **seats(model="slow"), budget="3")
    turns = [(await room.post("s1", text))["turn"] for text in ("One", "Two")]
    # The second starts and ends with what ends the first, so that nobody is asked.
    await asyncio.gather(
        *(room.http.post(f"/v1/sessions/s1/turns/{turn}/cancel") for turn in turns)
    )
    await nothing_held(room, "s1")
    await settled(room)


async def test_calls_that_were_cancelled_while_their_actor_starts_hold_nothing(
    room: LocalRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.stop_router()
    starting, go_on, ensure = asyncio.Event(), asyncio.Event(), room.models.ensure

    async def late(provider: str, model: str) -> None:
        starting.set()
        await go_on.wait()
        await ensure(provider, model)

    monkeypatch.setattr(room.models, "ensure", late)
    await room.start_router()
    await room.create("s1", **seats(model="slow"), budget="3")
    turn = (await room.post("s1"))["turn"]

    async def asked() -> bool:
        return any(isinstance(e.data, ModelAsked) for e in await room.store.read("s1"))

    await eventually(asked, within=10, what="somebody is asked")
    await asyncio.wait_for(starting.wait(), 10)
    await room.http.post(f"/v1/sessions/s1/turns/{turn}/cancel")
    assert await held(room, "s1") > 0
    go_on.set()
    await nothing_held(room, "s1")
    assert paid(await everything(room)) == 0


class Forgetful:
    """A store that takes the first answer and says that it did not."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.forgot = False

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        head = await self._store.append(stream, after, batch)
        if not self.forgot and any(isinstance(event.data, ModelAnswered) for event in batch):
            self.forgot = True
            raise StoreError("the connection was lost", retryable=True)
        return head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_an_outcome_whose_commit_was_not_heard_of_is_settled(room: LocalRoom) -> None:
    await room.stop_router()
    forgetful = Forgetful(room.store)
    room.store = forgetful
    await room.start_router()
    await room.create("s1", **seats("a"))
    assert (await room.post("s1", wait=20))["status"] == "completed"
    final = await settled(room)
    assert forgetful.forgot
    assert final.spent == paid(await everything(room)) > 0


async def test_a_daily_budget_that_is_set_later_covers_older_sessions(tmp_path: Path) -> None:
    unbounded = seats("a")
    del unbounded["models"][0]["max_tokens"]
    async with local_room(tmp_path, SOLD) as room:
        await room.create("s1", **unbounded)
        assert (await room.post("s1", wait=20))["status"] == "completed"
    async with local_room(tmp_path, SOLD, daily_budget="0.10") as room:
        assert (await room.post("s1", wait=20))["status"] == "failed"
        [over] = [e.data for e in await room.store.read("s1") if isinstance(e.data, BudgetOverrun)]
        assert over.scope == "account"
        assert "max_tokens" in (over.unbounded or "")


async def test_each_key_has_a_budget_of_its_own(tmp_path: Path) -> None:
    tokens = {name: SecretStr(f"{name}s-token") for name in ("ana", "ben", "cyd")}
    daily = "0.20,token:ben=5"
    async with local_room(tmp_path, SOLD, tokens=tokens, daily_budget=daily) as room:

        async def post(name: str) -> str:
            """Everyone posts to the same session; who posts pays."""
            headers = {"Authorization": f"Bearer {name}s-token"}
            message = {"content": "Hello"}
            answer = await room.http.post(
                "/v1/sessions/s1/turns?wait=20", json=message, headers=headers
            )
            return str(answer.json()["status"])

        body = {"session_id": "s1", "history": "isolated", "window": 1} | seats("a", max_tokens=20)
        headers = {"Authorization": "Bearer anas-token"}
        await room.http.post("/v1/sessions", json=body, headers=headers)
        got = {name: [await post(name) for _ in range(8)] for name in ("ana", "ben", "cyd")}
        assert set(got["ana"]) == set(got["cyd"]) == {"completed", "failed"}
        assert set(got["ben"]) == {"completed"}
        spent = {}
        for head in await room.store.heads():
            if head.stream.startswith(PREFIX):
                folded = Account(head.stream)
                for event in await room.store.read(head.stream):
                    folded.apply(event)
                spent[head.stream.split(":")[2]] = folded.spent
        assert spent.keys() == got.keys()
        assert max(spent["ana"], spent["cyd"]) <= Decimal("0.20") < spent["ben"]
        assert sum(spent.values()) == paid(await everything(room))
        await assert_sound(room.store, room.blobs, {})


async def test_turns_that_queue_in_one_session_keep_to_its_budget(room: LocalRoom) -> None:
    await room.create("s1", **seats(), budget={"limit": "1.20", "warn_at": ["0.1"]}, queue=100)
    for number in range(40):
        await room.post("s1", f"Message {number}")
    await room.post("s1", "The last one", wait=60)
    events = await room.store.read("s1")
    assert 0 < paid(events) <= Decimal("1.20")
    assert "budget.exceeded" in {event.type for event in events}
    assert "budget.warned" in {event.type for event in events}
    replayed = (await room.http.post("/v1/sessions/s1/replay")).json()
    assert replayed["identical"] is True


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"provider": "sold", "model_name": "instant"}, "max_tokens"),
        ({"provider": "unpriced", "model_name": "m", "max_tokens": 9}, "no price is known"),
    ],
)
async def test_what_cannot_be_bounded_is_refused(
    tmp_path: Path, model: dict[str, Any], words: str
) -> None:
    config = {"base_url": "https://models.example.com/v1", "api_key": "k"}
    unpriced = ProviderSpec(id="unpriced", type="openai", config=config)
    async with local_room(tmp_path, SOLD, unpriced, daily_budget="5") as room:
        body = {"session_id": "s1", "models": [{"id": "a", **model}]}
        answer = await room.http.post("/v1/sessions", json=body)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
