"""What a projection is: rows of its own tables, made from events alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from events.envelope import Recorded

Page = Sequence[Recorded]
"""Events of any streams, by their sequence."""


class Projector(Protocol):
    """Turns events into rows.

    Its tables are called `name` or `name_...`. What `apply` writes depends on the events and on
    those tables only, so any split of the log into pages leads to the same rows. It takes every
    log that the store gives, also one that no room would write: an event that fits nowhere is
    passed over. Another meaning of the tables is another `version`: they are then made anew.
    """

    @property
    def name(self) -> str:
        """What its tables are called after."""
        ...

    @property
    def version(self) -> int:
        """Version of what its tables mean."""
        ...

    @property
    def ddl(self) -> tuple[str, ...]:
        """The statements that make its tables."""
        ...

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        """Take the next events, inside the caller's transaction."""
        ...
