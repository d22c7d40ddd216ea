"""Sums of decimals without rounding."""

from __future__ import annotations

from decimal import Context

_EXACT = Context(prec=1000)

add = _EXACT.add
"""The exact sum of two amounts."""

subtract = _EXACT.subtract
"""The exact difference of two amounts."""
