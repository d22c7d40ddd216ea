"""Makes a step's events under the budgets that cover it: asked, requested first, or not sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from actors.routing import context, spending
from actors.routing.asking import Asking
from actors.routing.batch import Given
from actors.routing.steps import AskStep, Failure
from actors.routing.turn import Facts
from events.budgets import (
    BudgetOverrun,
    BudgetRefused,
    BudgetRequested,
    BudgetReserved,
    BudgetWarned,
)
from events.ledger import ZERO
from events.payload import Derived
from events.session import Session
from events.turns import Turn
from events.types import ModelAnswered, ModelAsked, ModelDiscarded, ModelFailed
from events.values import Semantics


class Made(NamedTuple):
    """The events of a step, and what the router is told where the step is not sent."""

    events: tuple[Derived, ...]
    failure: Failure | None = None


class Payment:
    """The steps of one session's open turn, as its budgets allow them."""

    def __init__(self, session: Session, asking: Asking) -> None:
        self._session = session
        self._asking = asking
        self._facts = Facts()
        self._context = context.VERSION
        self._requested: dict[str, ModelAsked] = {}

    def begin(self, facts: Facts, semantics: Semantics) -> None:
        """Another turn begins, on these facts."""
        self._facts, self._context = facts, semantics.context
        self._requested = {}

    def ask(self, turn: Turn, step: AskStep) -> Made:
        """Ask, or ask the account first; or say what budget of the session does not allow it."""
        known, account = self._facts.of_model(step.participant, step.fallback), self._facts.account
        length = known.get("context_length") if self._context >= 2 else None
        blind = self._context >= 3 and self._facts.blind(step.participant, step.fallback)
        asked, trimmed = self._asking.asked(turn, step, length, blind)
        before = () if trimmed is None else (trimmed,)
        if account is None and not spending.limited(turn.config, step.participant):
            return Made((*before, asked))
        ledger, parameters = self._session.ledger, asked.parameters
        why = spending.unbounded(known, parameters.max_tokens, parameters.extra)
        if why is not None:
            refused = spending.refusal(ledger, turn.config, step.participant, why)
            return _refused(step.key, refused or _not_covered(account, step.participant, why))
        needed = spending.most(self._session, turn, asked, known)
        over = spending.overrun(ledger, turn.config, step.participant, needed)
        if over is not None:
            return _refused(step.key, over)
        asked = asked.model_copy(update={"reserved": needed})
        if account is None or not needed:
            return Made((*before, asked))
        self._requested[step.key] = asked
        requested = BudgetRequested(
            account=account["stream"],
            participant=step.participant,
            amount=needed,
            limit=account["limit"],
            warn_at=account.get("warn_at", ()),
        )
        return Made((*before, requested))

    def decided(self, key: str, decision: BudgetReserved | BudgetRefused) -> Made:
        """What follows from what the account's owner has decided."""
        asked = self._requested.pop(key, None)
        if asked is None:
            return Made(())  # of a turn whose router does not run here
        if isinstance(decision, BudgetReserved):
            return Made((asked,))
        return _refused(
            key,
            BudgetOverrun(
                scope="account",
                participant=asked.participant,
                spent=decision.spent,
                held=decision.held,
                needed=decision.amount,
                limit=decision.limit,
            ),
        )

    def warnings(self, given: Given) -> Iterator[BudgetWarned]:
        """The shares of the session's budgets that an outcome's cost has reached."""
        if not isinstance(given.data, ModelAnswered | ModelFailed | ModelDiscarded):
            return
        turn = self._session.turns[given.turn or ""]
        step = turn.steps[given.step or ""]
        if given.data.cost is not None and step.asked is not None:
            name = step.asked.participant
            yield from spending.warnings(self._session.ledger, turn.config, name)


def _not_covered(account: Mapping[str, Any] | None, participant: str, why: str) -> BudgetOverrun:
    assert account is not None
    return BudgetOverrun(
        scope="account",
        participant=participant,
        spent=ZERO,
        held=ZERO,
        needed=ZERO,
        limit=account["limit"],
        unbounded=why,
    )


def _refused(key: str, over: BudgetOverrun) -> Made:
    failure = Failure(over.participant, key, "BudgetExceeded", spending.explained(over))
    return Made((over,), failure)
