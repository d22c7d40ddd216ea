"""Money, and calls without a price, as people read them."""

from __future__ import annotations

from decimal import Decimal

_LEAST = Decimal("0.000001")

UNKNOWN = "-"
"""Stands for the cost of calls that no price is known for."""
NO_PRICE = "'-' and 'unpriced': no price is known, so these calls may have cost money"
"""What the signs of `spent` mean, where a table has them."""


def money(amount: Decimal | str) -> str:
    """US dollars as every table, line and heading has them: two digits, or up to six if needed.

    JSON has every sum exactly.
    """
    value = Decimal(amount)
    if 0 < value < _LEAST:
        return f"< ${_LEAST}"
    whole, _, digits = f"{value:.6f}".partition(".")
    return f"${whole}.{digits.rstrip('0'):0<2}"


def spent(cost: Decimal | str, priced: int, unpriced: int) -> str:
    """What calls have cost: a sum, "-" where no price is known, or a sum and how many have none.

    So $0.00 means that nobody charges for it, or that nothing was asked.
    """
    if not unpriced:
        return money(cost)
    return f"{money(cost)} + {unpriced} unpriced" if priced else UNKNOWN
