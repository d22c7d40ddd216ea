"""An account: the budget of one principal for one day, as a stream of its own.

`account:<kind>:<id>:<day>`, the day in UTC. Its one owner decides every reservation, so that any
number of sessions at once spend no more than the limit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from pydantic import Field, model_validator

from events.config import Budget
from events.envelope import Event
from events.exact import add, subtract
from events.types import BudgetRefused, BudgetReserved, BudgetSettled, BudgetWarned
from events.values import Value

PREFIX = "account:"

Call = tuple[str, str, str, int]
"""Session, turn, step, attempt."""

_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


def stream_of(kind: str, id: str, day: date) -> str:
    """The stream of a principal's account; ids of other characters stand as their digest."""
    name = id if _PLAIN.fullmatch(id) else "x-" + sha256(id.encode()).hexdigest()
    return f"{PREFIX}{kind}:{name}:{day.isoformat()}"


def account_of(principal: str, day: date) -> str:
    """The stream of the account that pays what `principal` spends on that day."""
    kind, named, id = principal.partition(":")
    return stream_of(kind, id, day) if named else stream_of("user", principal, day)


def day_of(stream: str) -> str:
    """The day of an account, in ISO 8601: such texts sort as the days do."""
    return stream.rpartition(":")[2]


def day_before(at: datetime) -> str:
    """The day before `at`, in the same form; what began then may still be under way."""
    return (at - timedelta(days=1)).date().isoformat()


class DailyBudgets(Value):
    """What principals may spend in a day, in US dollars.

    As text, `5,token:ana=20`: an amount for each of those that are not named, and amounts for those
    that are. Without the former, only these are limited.
    """

    each: Budget | None = None
    named: dict[str, Budget] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        read: dict[str, Any] = {"named": {}}
        for part in filter(None, map(str.strip, value.split(","))):
            name, named, amount = map(str.strip, part.rpartition("="))
            into, key = (read["named"], name) if named else (read, "each")
            if key in into:
                raise ValueError(f"{name or 'everyone else'} has two amounts: leave one out")
            into[key] = amount
        return read

    def of(self, principal: str) -> Budget | None:
        """The budget of a principal; None where nothing limits it."""
        return self.named.get(principal, self.each)


@dataclass(slots=True)
class Account:
    """The folded state of an account. `apply` is the only thing that changes it. US dollars."""

    stream: str
    position: int = 0
    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    decided: dict[Call, BudgetReserved | BudgetRefused] = field(default_factory=dict)
    """Every reservation that was asked for."""
    settled: dict[Call, Decimal] = field(default_factory=dict)
    warned: set[tuple[Decimal, Decimal]] = field(default_factory=set)
    """Limit and share of the warnings that were given."""

    def apply(self, event: Event) -> None:
        """Fold one event. Events must come in order and without gaps."""
        self.position = event.position
        match event.data:
            case BudgetReserved() as data:
                self.decided[call_of(data)] = data
                self.held = add(self.held, data.amount)
            case BudgetRefused() as data:
                self.decided[call_of(data)] = data
            case BudgetSettled() as data:
                call = call_of(data)
                decided = self.decided.get(call)
                if isinstance(decided, BudgetReserved) and call not in self.settled:
                    self.held = subtract(self.held, decided.amount)
                    self.spent = add(self.spent, data.cost)
                self.settled[call] = data.cost
            case BudgetWarned() as data:
                self.warned.add((data.limit, data.share))
            case _:
                pass

    @property
    def open(self) -> tuple[BudgetReserved, ...]:
        """Reservations that are not settled yet."""
        return tuple(
            one
            for call, one in self.decided.items()
            if isinstance(one, BudgetReserved) and call not in self.settled
        )


def call_of(data: BudgetReserved | BudgetRefused | BudgetSettled) -> Call:
    """The call that it is about."""
    return data.session, data.turn, data.step, data.attempt
