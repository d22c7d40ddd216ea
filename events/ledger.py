"""What a session has spent, and what its calls under way can still cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from events.exact import add

Attempt = tuple[str, str, int]
"""Turn, step, attempt."""

Purse = str | None
"""A participant's, or (None) that of the whole session."""

ZERO = Decimal(0)


@dataclass(slots=True)
class Ledger:
    """Sums in US dollars.

    What an attempt can cost at most is held from its question to its outcome. An attempt that
    nothing is heard of any more may have been paid for, so what it holds stays held.
    """

    warned: set[tuple[Purse, Decimal, Decimal]] = field(default_factory=set)
    """Purse, limit and share of the warnings that were given."""
    _spent: dict[Purse, Decimal] = field(default_factory=dict)
    _held: dict[Purse, Decimal] = field(default_factory=dict)
    _holds: dict[Attempt, Decimal] = field(default_factory=dict)

    def spent(self, purse: Purse) -> Decimal:
        """What outcomes have cost."""
        return self._spent.get(purse, ZERO)

    def held(self, purse: Purse) -> Decimal:
        """What calls without an outcome can cost at most."""
        return self._held.get(purse, ZERO)

    def hold(self, attempt: Attempt, participant: str, most: Decimal | None) -> None:
        """An attempt begins that can cost so much."""
        if most and attempt not in self._holds:
            self._holds[attempt] = most
            _add(self._held, participant, most)

    def settle(self, attempt: Attempt, participant: str, cost: Decimal | None) -> None:
        """The attempt has its outcome, and cost so much (None: nothing that is known)."""
        if (most := self._holds.pop(attempt, None)) is not None:
            _add(self._held, participant, -most)
        if cost:
            _add(self._spent, participant, cost)


def _add(sums: dict[Purse, Decimal], participant: str, amount: Decimal) -> None:
    for purse in (participant, None):
        sums[purse] = add(sums.get(purse, ZERO), amount)
