"""Owns the accounts of some partitions: holds money for calls before they are made, and settles.

Decisions on one account are made one after the other, each committed before it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal

from pydantic import ValidationError

from actors.bus import Msg
from actors.messages import ACCOUNTING, Accounted, Reserve, Settle
from events.account import PREFIX, Account, Call, call_of, day_before, day_of
from events.envelope import Event, now
from events.errors import Conflict, ControlRoomError, StoreError
from events.exact import add
from events.ledger import ZERO
from events.session import Session
from events.store import EventStore
from events.types import (
    BudgetRefused,
    BudgetReserved,
    BudgetSettled,
    BudgetWarned,
    Payload,
)

_log = logging.getLogger(__name__)

KEPT = 1000
"""Accounts kept in memory."""
CONFLICTS = 5
"""How often a decision is made again after another writer was faster."""


class Accounts:
    """The accounts of one router. A plain class: its owner subscribes `serve`."""

    def __init__(
        self, store: EventStore, announce: Callable[[Sequence[Event]], Awaitable[None]]
    ) -> None:
        """`announce` tells those who follow the log of a commit."""
        self._store = store
        self._announce = announce
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        # Kept for good: one that is given up while somebody waits for it would be two.
        self._locks: dict[str, asyncio.Lock] = {}

    async def serve(self, msg: Msg) -> None:
        """Answer one request; what could not be committed stays unanswered, and is repeated."""
        try:
            asked = ACCOUNTING.validate_json(msg.data)
        except ValidationError as error:
            _log.error("a request to an account cannot be read: %s", error)
            return
        try:
            answer = await self.carry_out(asked)
        except ControlRoomError as error:
            _log.warning("account %s: %s", asked.account, error)
            return
        await msg.respond(answer)

    async def carry_out(self, asked: Reserve | Settle) -> Accounted:
        """Decide and commit; the same request again gets the same answer."""
        stream = asked.account
        async with self._locks.setdefault(stream, asyncio.Lock()):
            for _ in range(CONFLICTS):
                account = await self._loaded(stream)
                made = list(decided(account, asked))
                if made:
                    try:
                        await self._commit(account, made)
                    except Conflict:
                        continue
                return _answer(account, asked)
        raise StoreError(f"account {stream!r} has another writer", retryable=True)

    async def reconcile(self, owns: Callable[[str], bool]) -> None:
        """Settle what the sessions' logs know of and the accounts do not; for a start.

        A router may have ended between the outcome of a call and its settlement. A session that
        cannot be read keeps what is held for it.
        """
        yesterday = day_before(now())
        for head in await self._store.heads():
            stream = head.stream
            if stream.startswith(PREFIX) and day_of(stream) >= yesterday and owns(stream):
                try:
                    for settle in await self._unsettled(stream):
                        await self.carry_out(settle)
                except ControlRoomError as error:
                    _log.error("account %s cannot be settled yet: %s", stream, error)

    async def _unsettled(self, stream: str) -> list[Settle]:
        found: list[Settle] = []
        sessions: dict[str, Session | None] = {}
        for held in (await self._loaded(stream)).open:
            if held.session not in sessions:
                sessions[held.session] = await self._session(held.session)
            session = sessions[held.session]
            cost = None if session is None else settlement(session, call_of(held))
            if cost is not None:
                names = {"account", "session", "turn", "step", "attempt", "limit"}
                found.append(Settle(cost=cost, **held.model_dump(include=names)))
        return found

    async def _session(self, stream: str) -> Session | None:
        session = Session(stream)
        try:
            for event in await self._store.read(stream):
                session.apply(event)
        except ControlRoomError as error:
            _log.error("what is held for session %s stays held: %s", stream, error)
            return None
        return session

    async def _loaded(self, stream: str) -> Account:
        account = self._accounts.get(stream)
        if account is None:
            account = Account(stream)
            for event in await self._store.read(stream):
                account.apply(event)
            self._accounts[stream] = account
            if len(self._accounts) > KEPT:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(stream)
        return account

    async def _commit(self, account: Account, made: list[Payload]) -> None:
        at, after = now(), account.position
        events = [
            Event(account.stream, after + number, at, "router", data)
            for number, data in enumerate(made, 1)
        ]
        try:
            await self._store.append(account.stream, after, events)
        except BaseException:
            self._accounts.pop(account.stream, None)
            raise
        for event in events:
            account.apply(event)
        await self._announce(events)


def decided(account: Account, asked: Reserve | Settle) -> Iterator[Payload]:
    """What a request adds to the account's stream; nothing where it was decided before."""
    call = (asked.session, asked.turn, asked.step, asked.attempt)
    if isinstance(asked, Settle):
        reserved = isinstance(account.decided.get(call), BudgetReserved)
        if not reserved or call in account.settled:
            return
        yield BudgetSettled(
            session=asked.session,
            turn=asked.turn,
            step=asked.step,
            attempt=asked.attempt,
            cost=asked.cost,
        )
        yield from _warnings(account, asked, add(account.spent, asked.cost))
        return
    if call in account.decided:
        return
    fits = add(add(account.spent, account.held), asked.amount) <= asked.limit
    kind = BudgetReserved if fits else BudgetRefused
    yield kind(
        account=account.stream,
        session=asked.session,
        turn=asked.turn,
        step=asked.step,
        attempt=asked.attempt,
        amount=asked.amount,
        limit=asked.limit,
        spent=account.spent,
        held=account.held,
    )
    yield from _warnings(account, asked, account.spent)


def _warnings(account: Account, asked: Reserve | Settle, spent: Decimal) -> Iterator[BudgetWarned]:
    for share in sorted(asked.warn_at):
        if spent >= share * asked.limit and (asked.limit, share) not in account.warned:
            yield BudgetWarned(share=share, spent=spent, limit=asked.limit)


def settlement(session: Session, call: Call) -> Decimal | None:
    """What a reserved attempt is to be settled with; None where that is still open.

    An attempt that was never made costs nothing.
    """
    _, turn_id, key, attempt = call
    turn = session.turns.get(turn_id)
    step = turn.steps.get(key) if turn else None
    if step is not None and attempt in step.paid:
        return step.paid[attempt]
    asked = step is not None and step.asked is not None and step.attempt >= attempt
    over = turn is None or turn.end is not None or (step is not None and step.outcome is not None)
    return ZERO if over and not asked else None


def _answer(account: Account, asked: Reserve | Settle) -> Accounted:
    if isinstance(asked, Settle):
        return Accounted()
    found = account.decided[asked.session, asked.turn, asked.step, asked.attempt]
    if isinstance(found, BudgetReserved):
        return Accounted(reserved=found)
    return Accounted(refused=found)
