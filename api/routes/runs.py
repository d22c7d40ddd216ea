"""Runs of workflows: start, list, look at, cancel, replay; and the frameworks there are."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from actors.messages import CancelTurn, CreateSession, PostTurn
from api.doors import Doors, Inside
from api.idempotency import named, under
from api.openapi import problems
from api.problems import ProblemError
from api.projected import all_caught_up
from api.rerunning import RerunReport, rerun
from api.routes.sessions import carried
from api.routes.turns import message_text
from api.run_envelope import NewRun, checked, resolved
from api.run_views import (
    RUN_EXAMPLE,
    FrameworksView,
    RunAccepted,
    RunPage,
    frameworks_of,
    summary_of,
    turn_of_run,
    view_of_run,
)
from api.strict_json import StrictJSONRoute
from api.views import IdempotencyKey, Limit, Page, SessionId, Tag, TurnAccepted, Wait, command_id
from api.waiting import post
from events.config import SessionConfig
from events.values import Id, Message
from projections.runs import RunStatus, RunView

router = APIRouter(prefix="/v1", tags=["runs"], route_class=StrictJSONRoute)

FIRST = "run"
"""The command that starts a run whose id the client has chosen: repeated, it is the same run."""

_OTHER = "choose another run_id, or leave it out for a new one"

OfTurn = Annotated[
    Id | None, Query(description="which, of several that were posted; default: the last")
]
_STARTED = {
    200: {"model": RunView, "description": "The run has ended (only with `wait`)"},
    202: {"model": RunAccepted, "description": "The run is committed"},
    **problems(400, 409, 413, 415, 503),
}


@router.post(
    "/runs",
    operation_id="start_run",
    status_code=202,
    responses=_STARTED,
    response_model=None,
)
async def start_run(
    *,
    doors: Inside,
    request: Request,
    body: Annotated[
        NewRun, Body(openapi_examples={"a chain of two models": {"value": RUN_EXAMPLE}})
    ],
    key: IdempotencyKey = None,
    wait: Wait = None,
) -> Response:
    """Run a workflow of a framework on the room's models and tools.

    The run is a session whose id is the `run_id`: its events, costs and transcript are at
    `/v1/sessions/{run_id}`, and a message that is posted there runs the workflow again, on that as
    its inputs. The same `run_id` with the same envelope and inputs again is the same run, whatever
    the key; with others it is refused with 409.
    """
    run = await resolved(doors, body)
    with under(key) as known:
        id = run.run_id or f"run_{named(doors.principal, known)[:24]}"
        config = await checked(run, id)
        text = await message_text(doors, run.message)
        await _create(doors, config)
        command = PostTurn(
            session=id,
            by=doors.principal,
            id=FIRST if run.run_id else known,
            message=Message(content=text),
        )
        if run.run_id:
            await _same(doors, command)
        outcome = await post(doors, request, command, wait)
    if isinstance(outcome, TurnAccepted):
        return _said(_accepted(id, outcome), 202)
    return _said(await view_of_run(doors, id, outcome.turn), 200)


@router.get("/runs", operation_id="list_runs", responses=problems())
async def list_runs(
    doors: Inside,
    limit: Limit = 50,
    cursor: Page = None,
    tag: Tag = None,
) -> RunPage:
    """The runs, the latest first."""
    await all_caught_up(doors)
    page = await asyncio.to_thread(
        doors.room.projections.sessions, limit, cursor, tag, pattern="workflow"
    )
    runs = [await summary_of(doors, found) for found in page.sessions]
    return RunPage(runs=tuple(runs), next=page.next, position=page.position)


@router.get("/runs/{session_id}", operation_id="get_run", responses=problems(404))
async def get_run(doors: Inside, session_id: SessionId, turn: OfTurn = None) -> RunView:
    """A run as of now: its status, every call that it made, its output, what it cost."""
    return await view_of_run(doors, session_id, turn)


@router.post(
    "/runs/{session_id}/cancel", operation_id="cancel_run", responses=problems(404, 409, 503)
)
async def cancel_run(
    doors: Inside, session_id: SessionId, turn: OfTurn = None, key: IdempotencyKey = None
) -> RunAccepted:
    """Call off a run; calls in flight are cancelled, and it can make no further one."""
    chosen = await turn_of_run(doors, session_id, turn)
    command = CancelTurn(session=session_id, by=doors.principal, id=command_id(key), turn=chosen)
    position = (await doors.commands.send(command)).position
    return RunAccepted(
        run_id=session_id,
        session_id=session_id,
        turn=chosen,
        status="cancelled",
        position=position,
    )


@router.post(
    "/runs/{session_id}/replay", operation_id="replay_run", responses=problems(404, 409, 503)
)
async def replay_run(doors: Inside, session_id: SessionId, turn: OfTurn = None) -> RerunReport:
    """Run the workflow again with everything that it asks answered from the log, and compare.

    No model and no tool server is asked, and nothing is spent. `divergence` says which call is
    another than in the log.
    """
    return await rerun(doors, session_id, await turn_of_run(doors, session_id, turn))


@router.get("/frameworks", operation_id="list_frameworks", responses=problems())
async def list_frameworks(doors: Inside) -> FrameworksView:
    """The frameworks whose workflows can be run, with the JSON schema of their configuration."""
    return await asyncio.to_thread(frameworks_of, doors.room.settings.home)


async def _create(doors: Doors, config: SessionConfig) -> None:
    command = CreateSession(
        session=config.session_id,
        by=doors.principal,
        id=secrets.token_hex(16),  # its configuration makes it recognisable
        config=await carried(doors, config),
    )
    try:
        await doors.commands.send(command)
    except ProblemError as problem:
        if problem.kind != "refused":
            raise
        what = f"there is a run or session {config.session_id!r} with another configuration"
        raise ProblemError("refused", f"{what}: {_OTHER}") from None


async def _same(doors: Doors, command: PostTurn) -> None:
    """Raises a `ProblemError` where the run was started before, on other inputs."""
    state = await doors.states.get(command.session)
    done = state.commands.get(command.id)
    turn = state.turns.get(done.turn) if done and done.turn else None
    if turn is not None and turn.message != command.message:
        raise ProblemError(
            "refused",
            f"there is a run {command.session!r} with other inputs: {_OTHER}; or post them to"
            " its session, to run the same workflow again",
        )


_STATUS: dict[str, RunStatus] = {
    "queued": "queued",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def _accepted(run: str, outcome: TurnAccepted) -> RunAccepted:
    return RunAccepted(
        run_id=run,
        session_id=run,
        turn=outcome.turn,
        status=_STATUS.get(outcome.status, "running"),
        position=outcome.position,
    )


def _said(outcome: RunAccepted | RunView, status: int) -> Response:
    headers = {"Location": f"/v1/runs/{outcome.run_id}"}
    return Response(
        outcome.model_dump_json(),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
