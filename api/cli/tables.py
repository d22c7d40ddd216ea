"""Tables of texts as they are."""

from __future__ import annotations

from collections.abc import Collection

from rich import box
from rich.table import Table
from rich.text import Text

from api.terminal_text import safe_line


def table(*names: str, right: Collection[str] = ()) -> Table:
    """A table with these columns; only a title is ever cut."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        # Names are taken from here to be typed elsewhere, so they are never cut.
        loose = name == "title"
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=True,
            overflow="ellipsis" if loose else "fold",
            ratio=1 if loose else None,
        )
    return made


def row(to: Table, *cells: str) -> None:
    """Add a row."""
    to.add_row(*(Text(safe_line(cell)) for cell in cells))
