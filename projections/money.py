"""Sums of money that are exact: decimals, kept as text, never as floats."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Annotated

from pydantic import PlainSerializer


def plain(amount: Decimal) -> str:
    """The amount in digits, without an exponent."""
    return format(amount, "f")


Money = Annotated[Decimal, PlainSerializer(plain, return_type=str, when_used="json")]
"""US dollars; in JSON a string without an exponent."""

_EXACT = Context(prec=1000)


def total(amounts: Iterable[Decimal | str]) -> Decimal:
    """The exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = _EXACT.add(result, Decimal(amount))
    return result


class _Total:
    """An aggregate of SQL."""

    def __init__(self) -> None:
        self._sum = Decimal(0)

    def step(self, amount: str) -> None:
        self._sum = _EXACT.add(self._sum, Decimal(amount))

    def finalize(self) -> str:
        return plain(self._sum)


def teach_money(connection: sqlite3.Connection) -> None:
    """Have `money_sum(a, b)` and the aggregate `money_total(amount)` in SQL: exact, as text."""
    connection.create_function(
        "money_sum", 2, lambda a, b: plain(total((a, b))), deterministic=True
    )
    connection.create_aggregate("money_total", 1, _Total)  # type: ignore[arg-type]
