"""The cheapest and the fastest among models that did comparable work, out of the log.

Calls are **comparable** when they were made for the same purpose (answer, proposal, vote, plan,
synthesis, or what a script calls it) in turns of the same routing pattern. (A request's digest
covers the model that is asked, so no two models ever share one.) That says nothing of how hard the
questions were: the median of the tokens that were read shows whether the models had work of one
size, and a tag on the sessions of an experiment narrows the comparison to them.

Counted are outcomes that somebody waited for: answers, and failures. What was discarded is in the
costs, but says nothing of a model. Nothing is claimed of a model with fewer than `MINIMUM` answers,
nor a 95th percentile from fewer than `ENOUGH_FOR_P95`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from statistics import median
from typing import Any

from pydantic import Field

from events.values import Value
from projections.costs import Span, chosen
from projections.money import Money

MINIMUM = 5
"""Answers of a model from which on it may be called the cheapest or the fastest."""
ENOUGH_FOR_P95 = 20
"""Answers from which on the 95th percentile is more than the slowest one."""


class ModelName(Value):
    """A model of a provider."""

    provider: str
    model: str


class Spread(Value):
    """Of a number of observations, in milliseconds; the percentile only where there are enough."""

    observations: int
    median: float
    p95: float | None


class Ballots(Value):
    """How often a model's answer stood for election, and how often it won."""

    stood: int
    won: int


class ModelFigures(ModelName):
    """What is known of one model in one kind of work.

    Medians are over its answers; that of the cost over those that have a price.
    """

    answered: int
    failed: int
    failure_rate: float = Field(description="share of failures, from 0 to 1")
    first_token: Spread | None
    duration: Spread | None
    input_tokens: float | None = Field(description="median, cached ones included")
    output_tokens: float | None = Field(description="median, reasoning included")
    cost: Money | None = Field(description="median of an answer, in US dollars")
    priced: int = Field(description="answers that have a price")
    votes: Ballots | None = Field(default=None, description="where its answers stood for election")


class Comparison(Value):
    """Models that did comparable work: the same purpose, under the same routing pattern.

    `cheapest` and `fastest` are those with the least median cost and duration among the models with
    enough answers: empty where there are fewer than two such models, several where they are equal.
    """

    pattern: str
    purpose: str
    models: tuple[ModelFigures, ...]
    cheapest: tuple[ModelName, ...]
    fastest: tuple[ModelName, ...]


class Choices(Value):
    """Every kind of work that two models or more have done, as of the store's `position`."""

    position: int
    minimum: int = Field(default=MINIMUM, description="answers that a claim needs of each model")
    comparisons: tuple[Comparison, ...]


@dataclass(slots=True)
class _Model:
    """What was observed of a model."""

    name: ModelName
    answered: int = 0
    failed: int = 0
    first_tokens: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    costs: list[Decimal] = field(default_factory=list)
    votes: Ballots | None = None

    def answer(
        self, first_token: float | None, duration: float, read: int, written: int, cost: str | None
    ) -> None:
        self.answered += 1
        self.durations.append(duration)
        self.read.append(read)
        self.written.append(written)
        if first_token is not None:
            self.first_tokens.append(first_token)
        if cost is not None:
            self.costs.append(Decimal(cost))

    @property
    def figures(self) -> ModelFigures:
        return ModelFigures(
            **dict(self.name),
            answered=self.answered,
            failed=self.failed,
            failure_rate=self.failed / (self.answered + self.failed),
            first_token=_spread(self.first_tokens),
            duration=_spread(self.durations),
            input_tokens=median(self.read) if self.read else None,
            output_tokens=median(self.written) if self.written else None,
            cost=median(self.costs) if self.costs else None,
            priced=len(self.costs),
            votes=self.votes,
        )


_Work = tuple[str, str]
"""Pattern and purpose."""

_OBSERVED = (
    "pattern, purpose, provider, model, outcome, first_token, duration, "
    "input + cache_read + cache_write, output + reasoning, cost"
)
_STOOD = """
SELECT c.pattern, c.purpose, c.provider, c.model, COUNT(*), SUM(v.won)
FROM calls_votes v JOIN (SELECT * FROM calls {where}) c USING (session, turn, participant)
WHERE c.position = (
    SELECT MAX(x.position) FROM calls x
    WHERE x.session = v.session AND x.turn = v.turn AND x.participant = v.participant
    AND x.public AND x.outcome = 'answered' AND x.position < v.position)
GROUP BY c.pattern, c.purpose, c.provider, c.model
"""


def choices(connection: sqlite3.Connection, position: int, span: Span) -> Choices:
    """Compare what was done within the span."""
    where, given = chosen(None, span)
    work: dict[_Work, dict[ModelName, _Model]] = {}
    rows = connection.execute(f"SELECT {_OBSERVED} FROM calls {where}", given)
    for pattern, purpose, provider, model, outcome, *figures in rows:
        if outcome not in ("answered", "failed"):
            continue
        name = ModelName(provider=provider, model=model)
        one = work.setdefault((pattern, purpose), {}).setdefault(name, _Model(name))
        if outcome == "failed":
            one.failed += 1
        else:
            one.answer(*figures)
    for row in connection.execute(_STOOD.format(where=where), given):
        pattern, purpose, provider, model, stood, won = row
        name = ModelName(provider=provider, model=model)
        work[pattern, purpose][name].votes = Ballots(stood=stood, won=won)
    return Choices(
        position=position,
        comparisons=tuple(
            _comparison(
                kind, sorted(models.values(), key=lambda one: tuple(dict(one.name).items()))
            )
            for kind, models in sorted(work.items())
            if len(models) > 1
        ),
    )


def _comparison(kind: _Work, models: Sequence[_Model]) -> Comparison:
    figures = [model.figures for model in models]
    return Comparison(
        pattern=kind[0],
        purpose=kind[1],
        models=tuple(figures),
        cheapest=_least(figures, lambda one: one.priced, lambda one: one.cost),
        fastest=_least(
            figures, lambda one: one.answered, lambda one: one.duration and one.duration.median
        ),
    )


def _least(
    models: Iterable[ModelFigures],
    observations: Callable[[ModelFigures], int],
    of: Callable[[ModelFigures], Any],
) -> tuple[ModelName, ...]:
    """The models with the least value among those with enough observations, if these are two."""
    able = [model for model in models if observations(model) >= MINIMUM]
    if len(able) < 2:
        return ()
    best = min(map(of, able))
    return tuple(
        ModelName(provider=one.provider, model=one.model) for one in able if of(one) == best
    )


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    ordered = sorted(values)
    enough = len(ordered) >= ENOUGH_FOR_P95
    return Spread(
        observations=len(ordered),
        median=median(ordered),
        p95=ordered[ceil(0.95 * len(ordered)) - 1] if enough else None,
    )
