"""Sums of money that are exact: decimals, kept as text, never as floats."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Decimal
from functools import reduce
from typing import Annotated

from pydantic import PlainSerializer

from events.exact import add


def plain(amount: Decimal) -> str:
    """The amount in digits, without an exponent."""
    return format(amount, "f")


Money = Annotated[Decimal, PlainSerializer(plain, return_type=str, when_used="json")]
"""US dollars; in JSON a string without an exponent."""


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum of all amounts."""
    return reduce(add, amounts, Decimal(0))


class _Total:
    """An aggregate of SQL."""

    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, amount: str) -> None:
        self._sum = add(self._sum, Decimal(amount))

    def finalize(self) -> str:
        return plain(self._sum)


def teach_money(connection: sqlite3.Connection) -> None:
    """Have `money_sum(a, b)` and the aggregate `money_total(amount)` in SQL: exact, as text."""
    connection.create_function(
        "money_sum", 2, lambda a, b: plain(add(Decimal(a), Decimal(b))), deterministic=True
    )
    connection.create_aggregate("money_total", 1, _Total)  # type: ignore[arg-type]
