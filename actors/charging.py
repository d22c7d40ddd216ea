"""One session's dealings with the accounts that pay for its calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

from actors.calls import Key
from actors.deciding import Decide, Decision
from actors.messages import Accounted, Reserve, Settle
from actors.paying import Paying
from actors.receiving import reask, reserved
from events.account import day_before, day_of
from events.envelope import now
from events.errors import StoreError
from events.ledger import ZERO
from events.session import Session
from events.turns import Step
from events.types import BudgetRequested, BudgetReserved, ModelReasked
from events.values import Cost

_log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds until a decision is submitted again that could not be committed."""

Submit = Callable[[Decide], Awaitable[tuple[Decision, int]]]
"""Decides and commits; raises where that was not possible."""


class Charging:
    """Has money held before a call, and settles what it has cost; what it learns goes to `tell`.

    A step without a request to an account costs none. `alive` says of a call and its attempt
    whether it was heard of again.
    """

    def __init__(
        self,
        stream: str,
        paying: Paying,
        tell: Callable[[Decide], None],
        submit: Submit,
        alive: Callable[[Key, int], bool],
    ) -> None:
        self._stream = stream
        self._paying = paying
        self._tell = tell
        self._submit = submit
        self._alive = alive
        self._spare: dict[tuple[str, str], int] = {}
        """By turn and step, an attempt that the account may hold money for and that is not made.

        The account decides once on an attempt, so it is kept for when the call falls silent again.
        """

    def request(self, turn: str, step: Step, attempt: int = 1) -> None:
        """Ask the account for the most that the attempt can cost."""
        requested = step.requested
        assert requested
        request = Reserve(
            account=requested.account,
            session=self._stream,
            turn=turn,
            step=step.key,
            attempt=attempt,
            amount=requested.amount,
            limit=requested.limit,
            warn_at=requested.warn_at,
        )
        self._paying.reserve(request, partial(self._decided, request))

    def silent(self, key: Key, attempt: int) -> None:
        """Nothing is heard of a call: ask again, where its account has the money for that."""

        def decide(session: Session) -> Decision:
            if self._alive(key, attempt):
                return Decision()
            decision = reask(session, key=key, attempt=attempt)
            step = session.turns[key[1]].steps[key[2]] if decision.givens else None
            again = any(isinstance(given.data, ModelReasked) for given in decision.givens)
            if step is None or step.requested is None or not again:
                return decision
            self.request(key[1], step, attempt + 1)
            return Decision()

        self._tell(decide)

    def settle(self, turn: str, step: Step, attempt: int, cost: Cost | None) -> None:
        """The attempt has its outcome, and has cost so much (None: nothing that is known)."""
        if step.requested is not None:
            self._settle(turn, step, step.requested, attempt, cost.amount if cost else ZERO)

    def over(self, turn: str, step: Step) -> None:
        """The step has its outcome: an attempt that was never made costs nothing."""
        attempt = self._spare.pop((turn, step.key), 0)
        if attempt > step.attempt:
            self.settle(turn, step, attempt, None)

    def settle_all(self, session: Session) -> None:
        """Settle what the log knows of: its writer may have ended before it could.

        Settled twice is settled once. Accounts of days long past are closed.
        """
        yesterday = day_before(now())
        for turn in session.turns.values():
            for step in turn.steps.values():
                if (requested := step.requested) is None or day_of(requested.account) < yesterday:
                    continue
                for attempt, amount in step.paid.items():
                    self._settle(turn.id, step, requested, attempt, amount)
                if step.outcome is None and step.asked is not None:
                    # Its writer may have been about to ask again.
                    self._spare[turn.id, step.key] = step.attempt + 1

    def _settle(
        self, turn: str, step: Step, requested: BudgetRequested, attempt: int, amount: Decimal
    ) -> None:
        self._paying.settle(
            Settle(
                account=requested.account,
                session=self._stream,
                turn=turn,
                step=step.key,
                attempt=attempt,
                cost=amount,
                limit=requested.limit,
                warn_at=requested.warn_at,
            )
        )

    async def _decided(self, request: Reserve, answer: Accounted) -> None:
        """The account's owner has decided: the step, or its next attempt, goes on or does not."""
        wasted: list[Step] = []

        def decide(session: Session) -> Decision:
            wasted.clear()
            key, before = (self._stream, request.turn, request.step), request.attempt - 1
            alive = before > 0 and self._alive(key, before)
            decision = Decision() if alive else reserved(session, answer)
            turn = session.turns.get(request.turn)
            step = turn.steps.get(request.step) if turn else None
            if step is not None and not _taken(decision, step, request.attempt):
                if step.asked is not None and step.outcome is None:
                    self._spare[request.turn, request.step] = request.attempt
                else:
                    wasted.append(step)
            return decision

        while True:
            try:
                await self._submit(decide)
                break
            except StoreError as error:
                _log.warning("session %s: a reservation waits: %s", self._stream, error)
            await asyncio.sleep(PAUSE)
        # Only now, when what was decided on is in the log.
        for step in wasted:
            self.settle(request.turn, step, request.attempt, None)


def _taken(decision: Decision, step: Step, attempt: int) -> bool:
    """Whether the attempt is made with this decision, was made, or waits to be resumed."""
    goes_on = any(
        isinstance(given.data, BudgetReserved | ModelReasked) for given in decision.givens
    )
    made = step.asked is not None and step.attempt >= attempt
    waits = attempt == 1 and step.reservation is not None and step.outcome is None
    return goes_on or made or waits
