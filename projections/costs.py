"""What was spent: calls, tokens and money, by session, participant, provider, model and day."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import Field

from events.types import ModelAnswered, ModelAsked, ModelDiscarded, ModelFailed
from events.values import Usage, Value
from projections.money import Money, plain, total
from projections.projector import Page


class Spend(Value):
    """Sums over calls. What failed and what was discarded counts in all of them.

    A call is one outcome that a provider was asked for: an answer, a failure, or what came too late
    or twice.
    """

    calls: int = 0
    failed: int = 0
    discarded: int = 0
    usage: Usage = Field(default=Usage(), description="`estimated` where any call's usage is")
    cost: Money = Field(default=Decimal(0), description="of the calls that have a price")
    priced: int = 0
    unpriced: int = Field(default=0, description="calls with tokens, but without a price")


class CostLine(Spend):
    """The sums of one participant, model, provider, day (UTC, ISO 8601) or session.

    `provider` is set for models, which are known by both names.
    """

    name: str
    provider: str | None = None


class CostReport(Value):
    """Sums of one session, or of all: then `session` is None and `by_participant` empty.

    `position` is that of the session's stream, or the sequence of the store, up to which events are
    counted in.
    """

    session: str | None
    position: int
    total: Spend
    by_session: tuple[CostLine, ...] = ()
    by_participant: tuple[CostLine, ...] = ()
    by_provider: tuple[CostLine, ...] = ()
    by_model: tuple[CostLine, ...] = ()
    by_day: tuple[CostLine, ...] = ()


class _Key(NamedTuple):
    session: str
    day: str
    participant: str
    provider: str
    model: str


@dataclass(slots=True)
class _Sum:
    """A row of sums, as the table has it."""

    calls: int = 0
    failed: int = 0
    discarded: int = 0
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    estimated: int = 0
    priced: int = 0
    unpriced: int = 0
    cost: Decimal = Decimal(0)

    def add(self, data: ModelAnswered | ModelFailed | ModelDiscarded) -> None:
        """Count one call."""
        self.calls += 1
        self.failed += isinstance(data, ModelFailed)
        self.discarded += isinstance(data, ModelDiscarded)
        if (usage := data.usage) is not None:
            self.input += usage.input
            self.cache_read += usage.cache_read
            self.cache_write += usage.cache_write
            self.output += usage.output
            self.reasoning += usage.reasoning
            self.estimated += usage.estimated
        if data.cost is not None:
            self.priced += 1
            self.cost = total((self.cost, data.cost.amount))
        elif usage is not None:
            self.unpriced += 1


_COUNTS = tuple(field.name for field in fields(_Sum))[:-1]
_TOKENS = ("input", "cache_read", "cache_write", "output", "reasoning")
_KEYS = ", ".join(_Key._fields)
_ADD = (
    f"INSERT INTO costs ({_KEYS}, {', '.join(_COUNTS)}, cost) "
    f"VALUES ({', '.join('?' for _ in (*_Key._fields, *_COUNTS))}, ?) "
    f"ON CONFLICT ({_KEYS}) DO UPDATE SET "
    f"{', '.join(f'{name} = {name} + excluded.{name}' for name in _COUNTS)}, "
    "cost = money_sum(cost, excluded.cost)"
)


class Costs:
    """Keeps `costs`, the sums, and `costs_steps`, who was asked by which step."""

    name = "costs"
    version = 1
    ddl: tuple[str, ...] = (
        "CREATE TABLE costs ("
        + "".join(f"{name} TEXT NOT NULL, " for name in _Key._fields)
        + "".join(f"{name} INTEGER NOT NULL, " for name in _COUNTS)
        + f"cost TEXT NOT NULL, PRIMARY KEY ({_KEYS})) WITHOUT ROWID",
        "CREATE TABLE costs_steps (session TEXT, turn TEXT, step TEXT, participant TEXT NOT NULL, "
        "provider TEXT NOT NULL, model TEXT NOT NULL, PRIMARY KEY (session, turn, step)) "
        "WITHOUT ROWID",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        asked: dict[tuple[str, str | None, str | None], tuple[str, str, str]] = {}
        sums: dict[_Key, _Sum] = {}
        for recorded in page:
            event = recorded.event
            step = (event.stream, event.turn, event.step)
            match event.data:
                case ModelAsked() as data:
                    asked[step] = (data.participant, data.provider, data.model)
                case ModelAnswered() | ModelFailed() | ModelDiscarded() as data:
                    # A call may be paid for long after its turn, so steps are kept for good.
                    who = asked.get(step) or _who(connection, step)
                    if who is not None:
                        key = _Key(event.stream, event.at.date().isoformat(), *who)
                        sums.setdefault(key, _Sum()).add(data)
                case _:
                    pass
        connection.executemany(
            "INSERT OR REPLACE INTO costs_steps VALUES (?,?,?,?,?,?)",
            [(*step, *who) for step, who in asked.items()],
        )
        connection.executemany(_ADD, [_values(key, sum) for key, sum in sums.items()])


def _who(
    connection: sqlite3.Connection, step: tuple[str, str | None, str | None]
) -> tuple[str, str, str] | None:
    found: tuple[str, str, str] | None = connection.execute(
        "SELECT participant, provider, model FROM costs_steps "
        "WHERE session = ? AND turn = ? AND step = ?",
        step,
    ).fetchone()
    return found


def _values(key: _Key, sum: _Sum) -> tuple[str | int, ...]:
    return (*key, *(getattr(sum, name) for name in _COUNTS), plain(sum.cost))


# --- reading ---------------------------------------------------------------------------------

_FIGURES = f"{', '.join(f'SUM({name})' for name in _COUNTS)}, money_total(cost)"


def cost_report(connection: sqlite3.Connection, session: str | None, position: int) -> CostReport:
    """The sums of one session, or of all."""
    where = "WHERE session = ?" if session is not None else ""
    given = (session,) if session is not None else ()

    def lines(*names: str) -> tuple[CostLine, ...]:
        by = ", ".join(names)
        found = connection.execute(
            f"SELECT {by}, {_FIGURES} FROM costs {where} GROUP BY {by} ORDER BY {by}", given
        )
        return tuple(
            CostLine(
                name=row[0],
                provider=row[1] if len(names) > 1 else None,
                **_figures(row[len(names) :]),
            )
            for row in found
        )

    everything = connection.execute(f"SELECT {_FIGURES} FROM costs {where}", given).fetchone()
    return CostReport(
        session=session,
        position=position,
        total=Spend(**_figures(everything)),
        by_session=lines("session") if session is None else (),
        by_participant=lines("participant") if session is not None else (),
        by_provider=lines("provider"),
        by_model=lines("model", "provider"),
        by_day=lines("day"),
    )


def _figures(row: Sequence[Any]) -> dict[str, Any]:
    counts = {name: count or 0 for name, count in zip(_COUNTS, row, strict=False)}
    usage = {name: counts.pop(name) for name in _TOKENS}
    estimated = counts.pop("estimated") > 0
    return {**counts, "usage": Usage(**usage, estimated=estimated), "cost": Decimal(row[-1] or 0)}
