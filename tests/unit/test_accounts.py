"""Accounts: held before a call, settled after it, and never more than the limit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from actors.accounts import Accounts
from actors.messages import Reserve, Settle
from events.account import Account, DailyBudgets, account_of, stream_of
from events.envelope import Event, Head, now
from events.errors import Conflict, StoreError, Tampered
from events.open import open_store
from events.store import EventStore
from events.types import (
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    BudgetWarned,
    ModelDiscarded,
)
from events.values import Cost
from tests.sessions import Driven, answered, failed

STREAM = stream_of("user", "ada", now().date())


def reserve(step: str = "ask:a:1", amount: Any = 1, limit: Any = 10, **more: Any) -> Reserve:
    fields: dict[str, Any] = {"session": "s1", "turn": "t1", "attempt": 1} | more
    return Reserve(account=STREAM, step=step, amount=amount, limit=limit, **fields)


def settle(step: str = "ask:a:1", cost: Any = 1, **more: Any) -> Settle:
    fields: dict[str, Any] = {"session": "s1", "turn": "t1", "attempt": 1, "limit": 10} | more
    return Settle(account=STREAM, step=step, cost=cost, **fields)


async def folded(store: EventStore) -> Account:
    account = Account(STREAM)
    for event in await store.read(STREAM):
        account.apply(event)
    return account


async def types(store: EventStore) -> list[str]:
    return [event.type for event in await store.read(STREAM)]


@pytest.fixture
def store() -> EventStore:
    return open_store("memory:")


async def _quiet(events: Sequence[Event]) -> None:
    """Nobody follows the log."""


@pytest.fixture
def accounts(store: EventStore) -> Accounts:
    return Accounts(store, _quiet)


async def test_an_amount_is_held_until_it_is_settled(accounts: Accounts, store: EventStore) -> None:
    answer = await accounts.carry_out(reserve(amount=6))
    assert answer.reserved is not None
    assert answer.reserved.limit == 10
    refused = (await accounts.carry_out(reserve("ask:b:1", amount=5))).refused
    assert refused is not None
    assert refused.spent == 0
    assert (refused.held, refused.amount) == (Decimal(6), Decimal(5))
    await accounts.carry_out(settle(cost="2.5"))
    account = await folded(store)
    assert account.held == 0
    assert account.spent == Decimal("2.5")
    assert (await accounts.carry_out(reserve("ask:c:1", amount="7.5"))).reserved
    assert (await accounts.carry_out(reserve("ask:d:1", amount="0.001"))).refused


async def test_what_cost_more_than_was_held_counts_in_full_and_nothing_follows(
    accounts: Accounts, store: EventStore
) -> None:
    await accounts.carry_out(reserve(amount=6))
    await accounts.carry_out(settle(cost=11))
    account = await folded(store)
    assert account.spent == 11
    assert account.held == 0
    assert (await accounts.carry_out(reserve("ask:b:1", amount="0.001"))).refused


async def test_a_repetition_gets_the_same_answer_and_adds_nothing(
    accounts: Accounts, store: EventStore
) -> None:
    first = await accounts.carry_out(reserve(amount=6))
    no = await accounts.carry_out(reserve("ask:b:1", amount=6))
    await accounts.carry_out(settle(cost=1))
    for again in (accounts, Accounts(store, _quiet)):
        assert await again.carry_out(reserve(amount=6)) == first
        assert await again.carry_out(reserve("ask:b:1", amount=6)) == no, "though it would fit now"
        await again.carry_out(settle(cost=9))
    assert await types(store) == ["budget.reserved", "budget.refused", "budget.settled"]
    assert (await folded(store)).spent == 1


async def test_what_was_not_reserved_is_not_settled(accounts: Accounts, store: EventStore) -> None:
    await accounts.carry_out(settle("ask:never:1"))
    await accounts.carry_out(reserve(amount=99))
    await accounts.carry_out(settle())
    assert await types(store) == ["budget.refused"]


async def test_shares_are_warned_of_once(accounts: Accounts, store: EventStore) -> None:
    shares = {"warn_at": (Decimal("0.5"), Decimal("0.2"))}
    for number, cost in enumerate((1, 1, 3, 0)):
        await accounts.carry_out(reserve(f"ask:a:{number}", amount=3, **shares))
        await accounts.carry_out(settle(f"ask:a:{number}", cost=cost, **shares))
    warned = [e.data for e in await store.read(STREAM) if isinstance(e.data, BudgetWarned)]
    assert [(one.share, one.spent) for one in warned] == [
        (Decimal("0.2"), Decimal(2)),
        (Decimal("0.5"), Decimal(5)),
    ]


async def test_any_number_at_once_spend_no_more_than_the_limit(
    accounts: Accounts, store: EventStore
) -> None:
    chance = random.Random(7)

    async def call(number: int) -> Decimal:
        amount = Decimal(chance.randrange(1, 400)) / 100
        answer = await accounts.carry_out(reserve(f"ask:a:{number}", amount, session=f"s{number}"))
        if answer.reserved is None:
            return Decimal(0)
        cost = amount * chance.randrange(0, 101) / 100
        await asyncio.gather(
            *(
                accounts.carry_out(settle(f"ask:a:{number}", cost, session=f"s{number}"))
                for _ in range(2)
            )
        )
        return cost

    paid = sum(await asyncio.gather(*(call(number) for number in range(100))))
    account = await folded(store)
    assert 0 < paid == account.spent <= 10
    assert account.held == 0
    decided = [e.data for e in await store.read(STREAM)]
    assert sum(isinstance(one, BudgetReserved | BudgetRefused) for one in decided) == 100
    assert any(isinstance(one, BudgetRefused) for one in decided)
    for one in decided:
        if isinstance(one, BudgetReserved):
            assert one.spent + one.held + one.amount <= one.limit


class Contested(EventStore):
    """A store in which another writer is faster, or which fails, so many times."""

    def __init__(self, store: EventStore, errors: Sequence[StoreError]) -> None:
        self._store = store
        self._errors = list(errors)

    async def append(self, stream: str, after: int, batch: Sequence[Event]) -> Head:
        if self._errors:
            raise self._errors.pop()
        return await self._store.append(stream, after, batch)

    async def read(self, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
        return await self._store.read(stream, after, limit)


async def test_a_conflict_is_decided_again_and_a_failure_is_told(store: EventStore) -> None:
    contested = Accounts(Contested(store, [Conflict("taken")] * 3), _quiet)  # type: ignore[abstract]
    assert (await contested.carry_out(reserve())).reserved
    failing = Accounts(Contested(store, [StoreError("full")]), _quiet)  # type: ignore[abstract]
    with pytest.raises(StoreError, match="full"):
        await failing.carry_out(reserve("ask:b:1"))
    assert (await failing.carry_out(reserve("ask:b:1"))).reserved
    assert await types(store) == ["budget.reserved", "budget.reserved"]


async def test_a_restarted_owner_settles_what_the_sessions_know(store: EventStore) -> None:
    """An answer, a failure, one unheard of, one discarded, one never made, one under way."""
    room = Driven()
    cost = Cost(amount=Decimal("0.5"), prices="test")
    room.post()
    room.answer("ask:a:1", cost=cost)
    room.give(failed(unheard=True), turn="t1", step="ask:b:1")
    room.give(answered(cost=cost), turn="t1", step="ask:c:1")
    room.give(ModelDiscarded(attempt=2, reason="duplicate", cost=cost), turn="t1", step="ask:c:1")
    room.post()
    room.give(failed(cost=cost), turn="t2", step="ask:a:1")
    await store.append("s1", 0, room.log)
    before = Accounts(store, _quiet)
    held = [
        ("t1", "ask:a:1", 1),
        ("t1", "ask:b:1", 1),
        ("t1", "ask:c:1", 1),
        ("t1", "ask:c:1", 2),
        ("t1", "ask:c:1", 3),
        ("t2", "ask:a:1", 1),
        ("t2", "ask:b:1", 1),
        ("t9", "ask:a:1", 1),
    ]
    for turn, step, attempt in held:
        await before.carry_out(reserve(step, 1, 100, turn=turn, attempt=attempt))
    await Accounts(store, _quiet).reconcile(lambda _: True)
    settled = {
        (e.data.turn, e.data.step, e.data.attempt): e.data.cost
        for e in await store.read(STREAM)
        if isinstance(e.data, BudgetSettled)
    }
    half, nothing = Decimal("0.5"), Decimal(0)
    assert settled == {
        ("t1", "ask:a:1", 1): half,
        ("t1", "ask:c:1", 1): half,
        ("t1", "ask:c:1", 2): half,
        ("t1", "ask:c:1", 3): nothing,
        ("t2", "ask:a:1", 1): half,
        ("t9", "ask:a:1", 1): nothing,
    }
    assert (await folded(store)).held == 2, "the unheard one, and the one under way"


async def test_a_session_that_cannot_be_read_keeps_no_other_from_being_settled(
    store: EventStore,
) -> None:
    for session in ("s1", "s2"):
        room = Driven(session_id=session)
        room.post()
        room.answer("ask:a:1")
        await store.append(session, 0, room.log)
        await Accounts(store, _quiet).carry_out(reserve(session=session))

    class Broken(Contested):
        async def read(self, stream: str, after: int = 0, limit: int | None = None) -> list[Event]:
            if stream == "s1":
                raise Tampered("s1", 1, "its hash is another")
            return await super().read(stream, after, limit)

        async def heads(self) -> list[Head]:
            return await self._store.heads()

    await Accounts(Broken(store, []), _quiet).reconcile(lambda _: True)  # type: ignore[abstract]
    account = await folded(store)
    assert [held.session for held in account.open] == ["s1"]


def test_a_stream_is_of_one_principal_and_day() -> None:
    day = date(2026, 3, 1)
    assert stream_of("user", "ada@example.org", day) == "account:user:ada@example.org:2026-03-01"
    names = ["a:b", "a b", "ä", "", "x" * 65, "account:user:ada"]
    streams = {stream_of("user", name, day) for name in names}
    assert len(streams) == len(names)
    assert all(stream.count(":") == 3 for stream in streams)


def test_every_principal_has_an_account_of_its_own() -> None:
    day = date(2026, 3, 1)
    assert account_of("local", day) == "account:user:local:2026-03-01"
    assert account_of("token", day) == "account:user:token:2026-03-01"
    assert account_of("token:ana", day) == "account:token:ana:2026-03-01"


def test_daily_budgets_are_for_each_and_for_those_that_are_named() -> None:
    daily = DailyBudgets.model_validate("5, token:ana=20,")
    assert DailyBudgets.model_validate(daily.model_dump(mode="json")) == daily
    budgets = [daily.of(who) for who in ("token:ana", "token:ben", "local")]
    assert [budget and budget.limit for budget in budgets] == [20, 5, 5]
    only = DailyBudgets.model_validate("token:ana=0.5")
    assert only.of("token:ben") is None
    assert only.of("token:ana") is not None


@pytest.mark.parametrize(
    "text", ["5,6", "token:ana=1,token:ana=2", "0", "token:ana=much", "=5,6,1"]
)
def test_wrong_daily_budgets_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        DailyBudgets.model_validate(text)
