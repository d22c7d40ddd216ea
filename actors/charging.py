"""One session's dealings with the accounts that pay for its calls."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from actors.deciding import Decide, Decision
from actors.messages import Accounted, Reserve, Settle
from actors.paying import Paying
from actors.receiving import reask, reserved
from events.session import Session
from events.turns import Step
from events.types import ModelReasked
from events.values import Cost


class Charging:
    """Has money held before a call, and settles what it has cost; what it learns goes to `tell`.

    A step without a request to an account costs none.
    """

    def __init__(self, stream: str, paying: Paying, tell: Callable[[Decide], None]) -> None:
        self._stream = stream
        self._paying = paying
        self._tell = tell

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

    def silent(self, key: tuple[str, str, str], attempt: int) -> None:
        """Nothing is heard of a call: ask again, where its account has the money for that."""

        def decide(session: Session) -> Decision:
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
            self._paying.settle(
                Settle(
                    account=step.requested.account,
                    session=self._stream,
                    turn=turn,
                    step=step.key,
                    attempt=attempt,
                    cost=cost.amount if cost else Decimal(0),
                )
            )

    def _decided(self, request: Reserve, answer: Accounted) -> None:
        def decide(session: Session) -> Decision:
            decision = reserved(session, answer)
            turn = session.turns.get(request.turn)
            step = turn.steps.get(request.step) if turn else None
            if step is not None and not decision.givens and not _used(step, request.attempt):
                self.settle(request.turn, step, request.attempt, None)
            return decision

        self._tell(decide)


def _used(step: Step, attempt: int) -> bool:
    """Whether the attempt was made, or waits only for the session to be resumed."""
    made = step.asked is not None and step.attempt >= attempt
    return made or (step.reservation is not None and step.outcome is None)
