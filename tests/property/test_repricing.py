"""Repricing under the table that was recorded gives what was recorded, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
from hypothesis import given
from hypothesis import strategies as st

from events.prices import Prices, Rates, Tier
from events.types import ModelAnswered, ModelFailed
from events.values import Usage
from projections.costs import CostLine, Spend
from projections.money import total
from projections.repricing import Table
from tests.projected import project
from tests.session_logs import SessionLog, session_config

RATE = st.decimals(0, 100, places=4)
RATES = st.builds(Rates, input=RATE, cache_read=RATE, cache_write=RATE, output=RATE, reasoning=RATE)
TOKENS = st.integers(0, 300_000)
PRICES = st.builds(
    Prices,
    table=st.just("then"),
    rates=RATES,
    tiers=st.lists(st.builds(Tier, above=TOKENS, rates=RATES), max_size=2).map(tuple),
    request=RATE,
    hour=RATE,
)
USAGE = st.builds(
    Usage, input=TOKENS, cache_read=TOKENS, cache_write=TOKENS, output=TOKENS, reasoning=TOKENS
)
NAMES = ("ada", "bob", "cyd")


class Call(NamedTuple):
    fails: bool
    usage: Usage
    milliseconds: float
    served: bool
    timed: bool


CALLS = st.builds(
    Call,
    st.booleans(),
    USAGE,
    st.floats(0, 900_000).map(lambda ms: round(ms, 3)),
    st.booleans(),
    st.booleans(),
)


@given(
    tables=st.fixed_dictionaries(
        {}, optional={f"{name}-1": PRICES for name in NAMES} | {"ada-served": PRICES}
    ),
    calls=st.lists(CALLS, min_size=1, max_size=12),
)
def test_the_recorded_table_gives_the_recorded_cost(
    tables: dict[str, Prices], calls: list[Call]
) -> None:
    """Models without a price, served under another name, failed with and without a duration."""
    log = SessionLog(session_config(tags=["x", "y"]))
    untimed = unpriced = 0
    for call in calls:
        if not log.waiting:
            log.post("hello")
        key = log.waiting[0]
        name = key.split(":")[1]
        served = f"{name}-served" if call.served and not call.fails else None
        prices = tables.get(served or "") or tables.get(f"{name}-1")
        timed = prices is None or call.timed or not (call.fails and prices.hour)
        untimed += not timed
        unpriced += prices is None
        cost = prices.cost(call.usage, call.milliseconds / 1000) if prices and timed else None
        if call.fails:
            failed = ModelFailed(
                attempt=1,
                error="Error",
                message="-",
                retryable=True,
                tries=1,
                usage=call.usage,
                cost=cost,
                duration_ms=call.milliseconds if call.timed else None,
            )
            log.outcome(key, failed)
        else:
            answer = ModelAnswered(
                attempt=1,
                text="x",
                finish_reason="stop",
                usage=call.usage,
                cost=cost,
                served_model=served,
                duration_ms=call.milliseconds,
            )
            log.outcome(key, answer)

    async def check(folder: Path) -> None:
        reader = await project(folder, log, page=7)

        def then(provider: str, model: str, served: str | None) -> Prices | None:
            return tables.get(served or "") or tables.get(model)

        table = Table("then", then)
        report = reader.costs(table=table)
        by_tag = {line.name: line for line in report.by_tag}
        lines: tuple[Spend, ...] = (
            report.total,
            *report.by_session,
            *report.by_provider,
            *report.by_model,
            *report.by_day,
            *by_tag.values(),
            *reader.costs("s1", table=table).by_participant,
        )
        for line in lines:
            assert line.repriced is not None
            assert line.repriced.cost == line.cost, line
            assert line.repriced.priced == line.priced, line
            assert line.repriced.unpriced + line.repriced.untimed == line.unpriced, line
        assert report.total.repriced is not None
        assert report.total.repriced.untimed == untimed
        assert report.total.repriced.unpriced == unpriced
        assert by_tag["x"].repriced == by_tag["y"].repriced == report.total.repriced
        assert _sum(report.by_model) == report.total.repriced.cost

    with TemporaryDirectory() as folder:
        anyio.run(check, Path(folder))


def _sum(lines: tuple[CostLine, ...]) -> Decimal:
    return total(line.repriced.cost for line in lines if line.repriced is not None)
