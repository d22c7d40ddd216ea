"""What is left of the budgets of a session, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from rich.text import Text

from api.money import money
from api.terminal_text import safe_line


def budget_lines(config: Mapping[str, Any], report: Mapping[str, Any]) -> Iterator[Text]:
    """A line for each budget of the session: its limit, what is spent of it, and warnings reached.

    `report` are the costs of the session. What calls under way may still cost is not in it.
    """
    spent = {line["name"]: line["cost"] for line in report["by_participant"]}
    if (budget := config.get("budget")) is not None:
        yield _line("the session", budget, report["total"]["cost"])
    for one in config["models"]:
        if (budget := one.get("budget")) is not None:
            yield _line(safe_line(one["id"]), budget, spent.get(one["id"], "0"))


def _line(whose: str, budget: Mapping[str, Any], spent: str) -> Text:
    limit, used = Decimal(str(budget["limit"])), Decimal(str(spent))
    line = Text(f"budget of {whose}: {money(used)} of {money(limit)} spent", style="dim")
    reached = [share for each in budget["warn_at"] if used >= (share := Decimal(str(each))) * limit]
    if used >= limit:
        line.append(", none is left", style="not dim red")
    elif reached:
        line.append(f", past the warning at {max(reached):.0%}", style="not dim yellow")
    return line
