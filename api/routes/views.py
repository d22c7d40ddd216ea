"""What a session's events mean: its transcript, its replay."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from api.doors import Inside
from api.openapi import problems
from api.projected import caught_up
from api.views import After, Limit, SessionId
from projections.entries import Transcript
from projections.replay import Replay, replay

router = APIRouter(prefix="/v1/sessions/{session_id}", tags=["views"])


@router.get("/transcript", operation_id="get_transcript", responses=problems(404, 503))
async def get_transcript(
    doors: Inside, session_id: SessionId, after: After = 0, limit: Limit = 200
) -> Transcript:
    """The conversation in its order, as of `position`; `next` is the cursor of what follows."""
    await caught_up(doors, session_id)
    return await asyncio.to_thread(doors.room.projections.transcript, session_id, after, limit)


@router.post("/replay", operation_id="replay_session", responses=problems(404, 503))
async def replay_session(doors: Inside, session_id: SessionId) -> Replay:
    """Run every turn again from the log alone, and compare every event with it.

    `identical` with its `head` is the proof; else `divergence` says where, and what was expected.
    Nothing is asked of any model and nothing is written.
    """
    return await replay(doors.room.store, doors.room.blobs, session_id)
