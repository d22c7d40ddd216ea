"""Which model to choose, by what the log says of them."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from api.doors import Inside
from api.openapi import problems
from api.projected import all_caught_up
from api.routes.costs import Looked
from projections.choices import Choices

router = APIRouter(prefix="/v1", tags=["views"])


@router.get("/choices", operation_id="get_choices", responses=problems(503))
async def get_choices(doors: Inside, looked: Looked) -> Choices:
    """The cheapest and the fastest among models that did comparable work.

    Comparable are calls for the same purpose in turns of the same routing pattern; a tag narrows
    that to the sessions of one experiment. Each figure comes with the number of observations, and
    a model with fewer than `minimum` answers is called neither.
    """
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.choices, looked)
