"""The events of money: what is held before a call, what it cost, and what was not allowed."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import Field

from events.payload import Derived, Input
from events.values import Id


class BudgetWarned(Derived):
    """A share of a budget is spent; `participant` is None for the session's or the account's."""

    type: ClassVar[str] = "budget.warned"
    participant: Id | None = None
    share: Decimal
    spent: Decimal
    limit: Decimal


class BudgetRequested(Derived):
    """Before a step is sent, the account is asked for the most that it can cost, in US dollars."""

    type: ClassVar[str] = "budget.requested"
    account: str
    participant: Id
    amount: Decimal
    limit: Decimal
    warn_at: tuple[Decimal, ...] = ()


class Reservation(Input):
    """Base of what an account's owner decides; in the account's stream and in the session's.

    US dollars: `spent` and `held` are the account's before this.
    """

    account: str
    session: Id
    turn: Id
    step: str
    attempt: int = Field(ge=1)
    amount: Decimal
    limit: Decimal
    spent: Decimal
    held: Decimal


class BudgetReserved(Reservation):
    """The account holds the amount for that attempt until it is settled."""

    type: ClassVar[str] = "budget.reserved"


class BudgetRefused(Reservation):
    """The account does not have the amount: the step is not sent."""

    type: ClassVar[str] = "budget.refused"


class BudgetSettled(Input):
    """In the account's stream: what the attempt has cost; nothing is held for it any more."""

    type: ClassVar[str] = "budget.settled"
    session: Id
    turn: Id
    step: str
    attempt: int = Field(ge=1)
    cost: Decimal


class BudgetOverrun(Derived):
    """A step was not sent, because with it more could be spent than the budget allows.

    US dollars: `spent` is known, `held` is what calls under way can cost at most, `needed` what
    this one can. `participant` is whom it was for, `scope` whose budget it is.
    """

    type: ClassVar[str] = "budget.exceeded"
    scope: Literal["session", "participant", "account"]
    participant: Id
    spent: Decimal
    held: Decimal
    needed: Decimal
    limit: Decimal
    unbounded: str | None = Field(
        default=None, description="why nobody can say what the call can cost at most"
    )
