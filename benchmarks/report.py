"""What a benchmark reports: a table, marks that are reached or not, and remarks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark to reach. `got` and `wanted` are in the unit that `what` names."""

    what: str
    got: float
    wanted: float
    at_most: bool = False
    """Whether smaller is better."""

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.got <= self.wanted if self.at_most else self.got >= self.wanted

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        said = "reached" if self.reached else "NOT reached"
        return f"{said}: {self.what}: {number(self.got)} ({bound} {number(self.wanted)})"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one benchmark; cells are text already."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: Sequence[Mark] = ()
    remarks: Sequence[str] = ()
    more: Sequence[Report] = field(default=())

    def markdown(self) -> str:
        """The report as it stands in the README."""
        lines = [f"### {self.title}", "", _line(self.columns)]
        lines.append("|" + "|".join(["---", *["---:"] * (len(self.columns) - 1)]) + "|")
        lines += map(_line, self.rows)
        for group in (self.remarks, self.marks):
            if group:
                lines += ["", *(f"- {one}" for one in group)]
        return "\n\n".join(["\n".join(lines), *(one.markdown() for one in self.more)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three digits that count, and separators for thousands."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def median(values: Iterable[float]) -> float:
    """Of several rounds."""
    return statistics.median(values)
