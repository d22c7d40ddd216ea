"""What was spent: calls, tokens and money, by session, participant, model, day, tag and so on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from pydantic import Field

from events.envelope import Event
from events.exact import add
from events.types import (
    ModelAnswered,
    ModelAsked,
    ModelDiscarded,
    ModelFailed,
    SessionCreated,
    SessionReconfigured,
)
from events.values import Usage, Value
from projections.money import Money, plain
from projections.projector import Page
from projections.repricing import Repriced, Table, repriced


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
    repriced: Repriced | None = Field(
        default=None, description="the same calls by another price table, where one was named"
    )


class CostLine(Spend):
    """The sums of one participant, model, provider, day (UTC, ISO 8601), session or tag.

    `provider` is set for models, which are known by both names.
    """

    name: str
    provider: str | None = None


class CostReport(Value):
    """Sums of one session, or of all: then `session` is None and `by_participant` empty.

    `position` is that of the session's stream, or the sequence of the store, up to which events are
    counted in. Tags are those that sessions have now; a session with several counts in each of
    them, one without in none, so `by_tag` does not add up to `total`.
    """

    session: str | None
    position: int
    prices: str | None = Field(default=None, description="the price table of `repriced`")
    total: Spend
    by_session: tuple[CostLine, ...] = ()
    by_participant: tuple[CostLine, ...] = ()
    by_provider: tuple[CostLine, ...] = ()
    by_model: tuple[CostLine, ...] = ()
    by_day: tuple[CostLine, ...] = ()
    by_tag: tuple[CostLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Which calls are looked at: those of the days `first` to `last` (UTC), of sessions with `tag`.

    What is None bounds nothing.
    """

    first: date | None = None
    last: date | None = None
    tag: str | None = None


EVERYTHING = Span()


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
            self.cost = add(self.cost, data.cost.amount)
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
    """Keeps `costs`, the sums, `costs_turns`, who was asked by the steps of each turn, and tags.

    A turn's steps are lines of JSON: step, participant, provider, model. A call may be paid for
    long after its turn, so they are kept for good.
    """

    name = "costs"
    version = 2
    ddl: tuple[str, ...] = (
        "CREATE TABLE costs ("
        + "".join(f"{name} TEXT NOT NULL, " for name in _Key._fields)
        + "".join(f"{name} INTEGER NOT NULL, " for name in _COUNTS)
        + f"cost TEXT NOT NULL, PRIMARY KEY ({_KEYS})) WITHOUT ROWID",
        "CREATE TABLE costs_turns (session TEXT, turn TEXT, steps TEXT NOT NULL, "
        "PRIMARY KEY (session, turn)) WITHOUT ROWID",
        "CREATE TABLE costs_tags (tag TEXT NOT NULL, session TEXT NOT NULL, "
        "PRIMARY KEY (tag, session)) WITHOUT ROWID",
        "CREATE INDEX costs_tags_by_session ON costs_tags (session)",
    )

    def apply(self, connection: sqlite3.Connection, page: Page) -> None:
        steps = _Steps(connection)
        sums: dict[_Key, _Sum] = {}
        for recorded in page:
            event, data = recorded.event, recorded.event.data
            if isinstance(data, ModelAsked):
                steps.add(event, data)
            elif isinstance(data, ModelAnswered | ModelFailed | ModelDiscarded):
                if (who := steps.find(event)) is None:
                    continue
                key = _Key(event.stream, event.at.date().isoformat(), *who)
                if key not in sums:
                    sums[key] = _Sum()
                sums[key].add(data)
            elif isinstance(data, SessionCreated | SessionReconfigured):
                _tag(connection, event.stream, data.config.tags)
        steps.write()
        connection.executemany(_ADD, [_values(key, sum) for key, sum in sums.items()])


def _tag(connection: sqlite3.Connection, session: str, tags: Sequence[str]) -> None:
    connection.execute("DELETE FROM costs_tags WHERE session = ?", (session,))
    connection.executemany(
        "INSERT OR IGNORE INTO costs_tags VALUES (?,?)", [(tag, session) for tag in tags]
    )


_Who = tuple[str, str, str]
"""Participant, provider and model."""


class _Steps:
    """Who was asked by the steps of this page, and by those of earlier ones where it matters."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._asked: dict[tuple[str, str], dict[str, _Who]] = {}
        self._earlier: dict[tuple[str, str], dict[str, _Who]] = {}

    def add(self, event: Event, data: ModelAsked) -> None:
        """Remember a step."""
        steps = self._asked.setdefault((event.stream, event.turn or ""), {})
        steps[event.step or ""] = (data.participant, data.provider, data.model)

    def find(self, event: Event) -> _Who | None:
        """Who was asked by the step that an outcome belongs to."""
        turn, step = (event.stream, event.turn or ""), event.step or ""
        who = self._asked.get(turn, {}).get(step)
        if who is None:
            if turn not in self._earlier:
                self._earlier[turn] = self._stored(turn)
            who = self._earlier[turn].get(step)
        return who

    def _stored(self, turn: tuple[str, str]) -> dict[str, _Who]:
        found = self._connection.execute(
            "SELECT steps FROM costs_turns WHERE session = ? AND turn = ?", turn
        ).fetchone()
        lines = found[0].split("\n")[:-1] if found else ()
        return {step: (who[0], who[1], who[2]) for step, *who in map(orjson.loads, lines)}

    def write(self) -> None:
        """Store the steps of this page."""
        self._connection.executemany(
            "INSERT INTO costs_turns VALUES (?,?,?) "
            "ON CONFLICT (session, turn) DO UPDATE SET steps = steps || excluded.steps",
            [
                (*turn, "".join(f"{orjson.dumps((key, *who)).decode()}\n" for key, who in new))
                for turn, new in ((turn, steps.items()) for turn, steps in self._asked.items())
            ],
        )


_FIELDS = attrgetter(*_COUNTS)


def _values(key: _Key, sum: _Sum) -> tuple[str | int, ...]:
    return (*key, *_FIELDS(sum), plain(sum.cost))


# --- reading ---------------------------------------------------------------------------------

_FIGURES = f"{', '.join(f'SUM({name})' for name in _COUNTS)}, money_total(cost)"


def cost_report(
    connection: sqlite3.Connection,
    session: str | None,
    position: int,
    span: Span = EVERYTHING,
    table: Table | None = None,
) -> CostReport:
    """The sums of one session, or of all; with `table` beside what they would be by its prices."""
    where, given = chosen(session, span)
    again = None if table is None else _Again(connection, table, where, given)

    def lines(*names: str, source: str = "costs") -> tuple[CostLine, ...]:
        by = ", ".join(names)
        found = connection.execute(
            f"SELECT {by}, {_FIGURES} FROM {source} {where} GROUP BY {by} ORDER BY {by}", given
        )
        other = {} if again is None else again.by(*names)
        return tuple(
            CostLine(
                name=row[0],
                provider=row[1] if len(names) > 1 else None,
                repriced=None if again is None else other.get(row[: len(names)], Repriced()),
                **_figures(row[len(names) :]),
            )
            for row in found
        )

    everything = connection.execute(f"SELECT {_FIGURES} FROM costs {where}", given).fetchone()
    return CostReport(
        session=session,
        position=position,
        prices=None if table is None else table.name,
        total=Spend(
            repriced=None if again is None else again.by().get((), Repriced()),
            **_figures(everything),
        ),
        by_session=lines("session") if session is None else (),
        by_participant=lines("participant") if session is not None else (),
        by_provider=lines("provider"),
        by_model=lines("model", "provider"),
        by_day=lines("day"),
        by_tag=lines("tag", source="costs JOIN costs_tags USING (session)"),
    )


class _Again:
    """The same calls by other prices."""

    def __init__(
        self, connection: sqlite3.Connection, table: Table, where: str, given: tuple[str, ...]
    ) -> None:
        found = repriced(connection, table.prices, where, given)
        self._sums = {_Key(*group): sum for group, sum in found.items()}
        self._tags: dict[str, list[str]] = {}
        for tag, session in connection.execute("SELECT tag, session FROM costs_tags"):
            self._tags.setdefault(session, []).append(tag)

    def by(self, *names: str) -> dict[tuple[str, ...], Repriced]:
        """Sums by the values of these columns."""
        sums: dict[tuple[str, ...], Repriced] = {}
        for key, one in self._sums.items():
            groups = (
                [tuple(getattr(key, name) for name in names)]
                if names != ("tag",)
                else [(tag,) for tag in self._tags.get(key.session, ())]
            )
            for group in groups:
                sums[group] = sums[group] + one if group in sums else one
        return sums


def chosen(session: str | None, span: Span) -> tuple[str, tuple[str, ...]]:
    """The condition of SQL for the rows of a session and a span, and its values."""
    conditions = {
        "session = ?": session,
        "day >= ?": span.first and span.first.isoformat(),
        "day <= ?": span.last and span.last.isoformat(),
        "session IN (SELECT session FROM costs_tags WHERE tag = ?)": span.tag,
    }
    given = {condition: str(value) for condition, value in conditions.items() if value is not None}
    return f"WHERE {' AND '.join(given)}" if given else "", tuple(given.values())


def _figures(row: Sequence[Any]) -> dict[str, Any]:
    counts = {name: count or 0 for name, count in zip(_COUNTS, row, strict=False)}
    usage = {name: counts.pop(name) for name in _TOKENS}
    estimated = counts.pop("estimated") > 0
    return {**counts, "usage": Usage(**usage, estimated=estimated), "cost": Decimal(row[-1] or 0)}
