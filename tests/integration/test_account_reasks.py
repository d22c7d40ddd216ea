"""A call under an account that is silent for a while: asked again only where it stays so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from actors import subjects
from actors.accounts import Accounts
from actors.bus import Bus, Msg
from actors.messages import ACCOUNTING, Reserve
from actors.providers.config import ProviderSpec
from api.nats_server import BundledNats
from events.account import Account, DailyBudgets, account_of
from events.envelope import Event, now
from events.open import open_blobs, open_store
from events.store import EventStore
from tests.sessions import answered
from tests.waiting import eventually
from tests.wire import Wire, routing

SOLD = ProviderSpec(id="sold", type="rehearsal", config={"prices": {"*": {"output": 1000}}})
SEAT = {"id": "a", "provider": "sold", "model_name": "steady", "max_tokens": 100}
HELD, COST = Decimal("0.1"), Decimal("0.0015")
DAILY = DailyBudgets.model_validate("10")
STREAM = account_of("user", now().date())
SESSION = next(
    name
    for name in (f"s{number}" for number in count(1))
    if subjects.partition(name) != subjects.partition(STREAM)
)
"""A session whose router does not own its account."""


class Owner:
    """The account's owner: it decides on a second attempt only when it is let."""

    def __init__(self, store: EventStore) -> None:
        self._accounts = Accounts(store, _quiet)
        self._store = store
        self.wanted, self.may = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def serve(self, msg: Msg) -> None:
        self._tasks.append(asyncio.create_task(self._serve(msg)))

    async def _serve(self, msg: Msg) -> None:
        asked = ACCOUNTING.validate_json(msg.data)
        if isinstance(asked, Reserve) and asked.attempt == 2:
            self.wanted.set()
            await asyncio.wait_for(self.may.wait(), 20)
        await msg.respond(await self._accounts.carry_out(asked))

    async def account(self) -> Account:
        folded = Account(STREAM)
        for event in await self._store.read(STREAM):
            folded.apply(event)
        return folded

    async def has(self, spent: Decimal, held: Decimal) -> None:
        async def found() -> bool:
            account = await self.account()
            return (account.spent, account.held) == (spent, held)

        await eventually(found, within=10, what=f"the account has spent {spent} and holds {held}")


async def _quiet(events: Sequence[Event]) -> None:
    return


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EventStore]:
    store = open_store(f"sqlite:///{tmp_path}/room.db")
    yield store
    await store.close()


@asynccontextmanager
async def paid(
    nats: BundledNats, store: EventStore, folder: Path
) -> AsyncIterator[tuple[Wire, Owner]]:
    """A router whose principal has a daily budget, and the owner of that account."""
    blobs = open_blobs(f"sqlite:///{folder}/room.db")
    owner, bus = Owner(store), await Bus.connect(nats.url)
    await bus.subscribe(subjects.account(subjects.partition(STREAM)), owner.serve)
    mine = [subjects.partition(SESSION)]
    async with routing(
        nats, store, blobs, folder, SOLD, heartbeat=0.5, daily_budget=DAILY, partitions=mine
    ) as wire:
        await wire.create(SESSION, models=[SEAT])
        await wire.post(SESSION, "Hello", "first")
        yield wire, owner
    await bus.close()


async def test_a_call_that_is_heard_of_again_is_not_asked_again(
    nats_server: BundledNats, store: EventStore, tmp_path: Path
) -> None:
    async with paid(nats_server, store, tmp_path) as (wire, owner):
        first = await wire.asked(1)
        await asyncio.wait_for(owner.wanted.wait(), 20)  # silent: the account is asked for another
        await wire.beat(first)
        owner.may.set()
        await owner.has(spent=Decimal(0), held=2 * HELD)
        for number in range(3):  # what these are answered after was decided before
            await wire.post(SESSION, "Meanwhile", f"queued-{number}")
        assert await wire.outcome(first, answered=answered("Late.")) == "committed"
        following = await wire.asked(1)
        assert following.turn != first.turn
        await owner.has(spent=COST, held=HELD)  # that of the next turn alone
    assert "model.reasked" not in [event.type for event in await store.read(SESSION)]


async def test_one_that_falls_silent_once_more_is_asked_again_on_what_is_held(
    nats_server: BundledNats, store: EventStore, tmp_path: Path
) -> None:
    async with paid(nats_server, store, tmp_path) as (wire, owner):
        first = await wire.asked(1)
        await asyncio.wait_for(owner.wanted.wait(), 20)
        await wire.beat(first)
        owner.may.set()
        again = await wire.asked(2)
        assert await wire.outcome(again, answered=answered("At last.", attempt=2)) == "committed"
        # The first may still have to be paid for.
        await owner.has(spent=COST, held=HELD)
    types = [event.type for event in await store.read(SESSION)]
    assert types.count("model.reasked") == 1
