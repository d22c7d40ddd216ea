"""What was spent, in one session and in all."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query
from pydantic import Field

from api.doors import Doors, Inside
from api.openapi import problems
from api.price_tables import CURRENT, CurrentProviders, Given, given_table, named_table
from api.problems import ProblemError
from api.projected import all_caught_up, caught_up
from api.strict_json import StrictJSONRoute
from api.views import SessionId
from events.values import Value
from projections.costs import CostReport, Span
from projections.repricing import Table

router = APIRouter(prefix="/v1", tags=["views"], route_class=StrictJSONRoute)


async def span(
    first: Annotated[
        date | None, Query(alias="from", description="the first day, such as 2026-03-01, in UTC")
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="the last day, which counts in, in UTC")
    ] = None,
    tag: Annotated[
        str | None, Query(max_length=128, description="only sessions that have this tag")
    ] = None,
) -> Span:
    """Which calls are looked at. Raises a 422 `ProblemError` for days in the wrong order."""
    if first is not None and last is not None and first > last:
        raise ProblemError("invalid", f"from: {first} is after the last day, {last}: swap them")
    return Span(first, last, tag)


Looked = Annotated[Span, Depends(span)]
"""The parameters `from`, `to` and `tag` of a route."""


class PriceList(Value):
    """Prices by provider and model, or by patterns of either, as in the provider file."""

    name: str = Field(default="given", min_length=1, max_length=128)
    prices: Given


EXAMPLE = {
    "name": "if we moved",
    "prices": {"openai": {"gpt-*": {"input": "2.5", "cache_read": "1.25", "output": "10"}}},
}


@router.get("/costs", operation_id="get_all_costs", responses=problems(503))
async def get_all_costs(
    doors: Inside,
    looked: Looked,
    prices: Annotated[
        str | None,
        Query(
            max_length=128,
            description="also tell what the same calls would cost by this price table: 'current' "
            "for what the providers charge today, or a table of prices.json in the data directory",
        ),
    ] = None,
) -> CostReport:
    """Tokens and money of the whole room by session, provider, model, day and tag.

    As of `position`. A session with several tags counts in each of them. `unpriced` counts calls
    with tokens that no price is known for: `cost` is without them. With `prices` each line has
    `repriced` beside the recorded `cost`, which never changes.
    """
    if prices is None:
        return await _report(doors, looked, None)
    if prices != CURRENT:
        table = await asyncio.to_thread(named_table, doors.room.settings.home, prices)
        return await _report(doors, looked, table)
    current = CurrentProviders(doors.room.providers, doors.room.settings.environment)
    try:
        return await _report(doors, looked, Table(CURRENT, current.prices))
    finally:
        await current.close()


@router.post("/costs", operation_id="reprice_costs", responses=problems(400, 413, 415, 503))
async def reprice_costs(
    doors: Inside,
    looked: Looked,
    body: Annotated[PriceList, Body(openapi_examples={"a contract": {"value": EXAMPLE}})],
) -> CostReport:
    """The same report with what the calls would cost by the prices that are sent.

    Nothing is changed or kept. `repriced` says beside each recorded `cost` what it would be, and
    how many calls the prices do not tell the cost of.
    """
    return await _report(doors, looked, given_table(body.name, body.prices))


async def _report(doors: Doors, looked: Span, table: Table | None) -> CostReport:
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.costs, None, looked, table)


@router.get("/sessions/{session_id}/costs", operation_id="get_costs", responses=problems(404, 503))
async def get_costs(doors: Inside, session_id: SessionId) -> CostReport:
    """Tokens and money by participant, provider, model and day, as of `position`."""
    await caught_up(doors, session_id)
    return await asyncio.to_thread(doors.room.projections.costs, session_id)
