"""What recorded calls would cost by another price table. The record stays as it is.

Every call is priced by itself, from its own usage and duration, as it was when it was recorded:
rates that depend on the length of one call's input, and prices that are rounded call by call, give
the same to the last digit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pydantic import Field

from events.exact import add
from events.prices import Prices
from events.values import Usage, Value
from projections.money import Money

Lookup = Callable[[str, str, str | None], Prices | None]
"""The prices of a provider's model, and of the one that served it where that is another."""


@dataclass(frozen=True, slots=True)
class Table:
    """Prices under a name."""

    name: str
    prices: Lookup


class Repriced(Value):
    """Sums over the calls with tokens: each is priced, unpriced or untimed."""

    cost: Money = Field(default=Decimal(0), description="of the calls that have a price")
    priced: int = 0
    unpriced: int = Field(default=0, description="calls of models that the table does not have")
    untimed: int = Field(
        default=0,
        description="calls that failed or were discarded before their duration was recorded, of "
        "models that have a price by the hour",
    )

    def __add__(self, other: Repriced) -> Repriced:
        return Repriced(
            cost=add(self.cost, other.cost),
            priced=self.priced + other.priced,
            unpriced=self.unpriced + other.unpriced,
            untimed=self.untimed + other.untimed,
        )


_Group = tuple[str, str, str, str, str]
_GROUP = "session, day, participant, provider, model"
_NEEDED = "served, input, cache_read, cache_write, output, reasoning, duration"


@dataclass(slots=True)
class _Sum:
    cost: Decimal = Decimal(0)
    priced: int = 0
    unpriced: int = 0
    untimed: int = 0


def repriced(
    connection: sqlite3.Connection, prices: Lookup, where: str, given: tuple[str, ...]
) -> dict[_Group, Repriced]:
    """Sums by session, day, participant, provider and model, over the rows of `calls` `where`.

    The prices of a call are those of the model that served it, or else of the one that was asked.
    """
    known: dict[tuple[str, str, str | None], Prices | None] = {}

    def of(provider: str, model: str, served: str | None) -> Prices | None:
        names = provider, model, None if served == model else served
        if names not in known:
            known[names] = prices(*names)
        return known[names]

    sums: dict[_Group, _Sum] = {}
    rows = connection.execute(f"SELECT {_GROUP}, {_NEEDED} FROM calls {where}", given)
    for *group, served, input, cache_read, cache_write, output, reasoning, duration in rows:
        if input is None:
            continue  # nobody knows of any tokens, so nothing was priced then either
        session, day, participant, provider, model = group
        table = of(provider, model, served)
        usage = Usage(
            input=input,
            cache_read=cache_read,
            cache_write=cache_write,
            output=output,
            reasoning=reasoning,
        )
        total = sums.setdefault((session, day, participant, provider, model), _Sum())
        amount = _amount(table, usage, duration)
        if isinstance(amount, Decimal):
            total.priced += 1
            total.cost = add(total.cost, amount)
        elif amount == "unpriced":
            total.unpriced += 1
        else:
            total.untimed += 1
    return {
        group: Repriced(
            cost=one.cost, priced=one.priced, unpriced=one.unpriced, untimed=one.untimed
        )
        for group, one in sums.items()
    }


def _amount(
    table: Prices | None, usage: Usage, duration: float | None
) -> Decimal | Literal["unpriced", "untimed"]:
    """What one call costs; `duration` is in milliseconds."""
    if table is None:
        return "unpriced"
    if duration is None and table.hour:
        return "untimed"
    return table.cost(usage, (duration or 0) / 1000).amount
