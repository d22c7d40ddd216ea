"""What was spent, in one session and in all."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from api.doors import Inside
from api.openapi import problems
from api.projected import all_caught_up, caught_up
from api.views import SessionId
from projections.costs import CostReport

router = APIRouter(prefix="/v1", tags=["views"])


@router.get("/costs", operation_id="get_all_costs", responses=problems(503))
async def get_all_costs(doors: Inside) -> CostReport:
    """Tokens and money of the whole room by session, provider, model and day, as of `position`.

    `unpriced` counts calls with tokens that no price is known for: `cost` is without them.
    """
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.costs)


@router.get("/sessions/{session_id}/costs", operation_id="get_costs", responses=problems(404, 503))
async def get_costs(doors: Inside, session_id: SessionId) -> CostReport:
    """Tokens and money by participant, provider, model and day, as of `position`."""
    await caught_up(doors, session_id)
    return await asyncio.to_thread(doors.room.projections.costs, session_id)
