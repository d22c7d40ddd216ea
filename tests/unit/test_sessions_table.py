"""The list of sessions on a terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from api.cli.sessions import _sessions_table


@pytest.mark.parametrize(
    ("cost", "unpriced", "shown"),
    [
        ("0", 0, "$0.00"),
        ("0.5", 0, "$0.50"),
        ("0.5", 2, "$0.50 + 2 unpriced"),
        ("0", 2, "-"),
    ],
)
def test_calls_without_a_price_are_not_shown_as_free(cost: str, unpriced: int, shown: str) -> None:
    session: dict[str, Any] = {
        "id": "s1", "title": "A title", "preview": None, "pattern": "broadcast", "turns": 1,
        "participants": [{}], "status": "active", "open_turn": None, "cost": cost,
        "unpriced": unpriced, "updated_at": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    console = Console(width=200, file=StringIO())
    with console.capture() as captured:
        console.print(_sessions_table([session], narrow=False))
    row = captured.get().splitlines()[-1].split("active")[1]
    assert row.split("2026-03-01")[0].strip(" │|") == shown
