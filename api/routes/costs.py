"""What was spent, in one session and in all."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.doors import Inside
from api.openapi import problems
from api.problems import ProblemError
from api.projected import all_caught_up, caught_up
from api.views import SessionId
from projections.costs import CostReport, Span

router = APIRouter(prefix="/v1", tags=["views"])


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


@router.get("/costs", operation_id="get_all_costs", responses=problems(503))
async def get_all_costs(doors: Inside, looked: Looked) -> CostReport:
    """Tokens and money of the whole room by session, provider, model, day and tag.

    As of `position`. A session with several tags counts in each of them. `unpriced` counts calls
    with tokens that no price is known for: `cost` is without them.
    """
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.costs, None, looked)


@router.get("/sessions/{session_id}/costs", operation_id="get_costs", responses=problems(404, 503))
async def get_costs(doors: Inside, session_id: SessionId) -> CostReport:
    """Tokens and money by participant, provider, model and day, as of `position`."""
    await caught_up(doors, session_id)
    return await asyncio.to_thread(doors.room.projections.costs, session_id)
