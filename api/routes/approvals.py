"""Approvals and questions of tools: what waits for a person, and what the person says."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, Field

from actors.messages import AnswerElicitation, Approve
from api.doors import Doors, Inside
from api.openapi import problems
from api.projected import all_caught_up
from api.strict_json import StrictJSONRoute
from api.views import Done, IdempotencyKey, Limit, Page, SessionId, TurnId, command_id
from events.session import Session
from events.values import Id, Value
from projections.approvals import OpenApproval, OpenQuestion, WaitingPage

router = APIRouter(prefix="/v1", tags=["approvals"], route_class=StrictJSONRoute)

StepKey = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_:-]{1,128}$",
        description="key of the call's step, such as call:files__write_file:1",
        openapi_examples={"a": {"value": "call:files__write_file:1"}},
    ),
]


class Approvals(BaseModel):
    """What waits for a person in one session."""

    session_id: str
    position: int = Field(description="of the session's last event then")
    approvals: tuple[OpenApproval, ...]
    questions: tuple[OpenQuestion, ...]

    @classmethod
    def of(cls, session: Session) -> Approvals:
        """What waits in `session` as it is now."""
        approvals: list[OpenApproval] = []
        questions: list[OpenQuestion] = []
        turn = session.open
        for step in turn.steps.values() if turn is not None else ():
            made = step.called or step.wanted
            if turn is None or made is None:
                continue
            fields = {
                "turn": turn.id,
                "step": step.key,
                "participant": made.use.participant,
                "name": made.use.name,
                "server": made.server,
                "tool": made.tool,
                "arguments": made.use.arguments,
                "position": step.position,
            }
            for id in step.questions:
                if asked := step.elicited.get(id):
                    said = {"message": asked.message, "form": asked.form, "url": asked.url}
                    questions.append(OpenQuestion.model_validate(fields | said | {"question": id}))
                else:
                    approvals.append(OpenApproval.model_validate(fields))
        return cls(
            session_id=session.stream,
            position=session.position,
            approvals=tuple(approvals),
            questions=tuple(questions),
        )


class Reason(Value):
    """Why; a model is told the reason of a denial."""

    reason: str = Field(default="", max_length=4000)


class Answered(Value):
    """What a person says to a tool's question."""

    question: Id | None = Field(default=None, description="its id; needed where there are several")
    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = Field(default=None, description="by the question's form")


@router.get("/approvals", operation_id="list_waiting", responses=problems())
async def list_waiting(doors: Inside, limit: Limit = 50, cursor: Page = None) -> WaitingPage:
    """What waits for a person in all sessions: what has waited longest comes first.

    Of the kind `approval` are calls of tools to allow or not, of the kind `question` what tools ask
    while they work. Sessions that were made for a single request, and runs, are among them.
    """
    await all_caught_up(doors)
    return await asyncio.to_thread(doors.room.projections.waiting, limit, cursor)


_SESSION = "/sessions/{session_id}"


@router.get(f"{_SESSION}/approvals", operation_id="list_approvals", responses=problems(404))
async def list_approvals(doors: Inside, session_id: SessionId) -> Approvals:
    """What waits for a person: calls of tools to allow or not, and what tools ask meanwhile.

    The turn's deadline stands still as long as anything does.
    """
    return Approvals.of(await doors.states.get(session_id))


_STEP = f"{_SESSION}/turns/{{turn}}/steps/{{step}}"
_SAID = problems(400, 404, 409, 413, 415, 503)


@router.post(f"{_STEP}/approve", operation_id="approve_call", responses=_SAID)
async def approve_call(
    *,
    doors: Inside,
    session_id: SessionId,
    turn: TurnId,
    step: StepKey,
    body: Annotated[Reason | None, Body(openapi_examples={"plainly": {"value": {}}})] = None,
    key: IdempotencyKey = None,
) -> Done:
    """Allow a call of a tool that waits for it: it is made now."""
    call, reason = _call(doors, session_id, turn, step, key), body.reason if body else ""
    return await _sent(doors, Approve(**call, granted=True, reason=reason))


@router.post(f"{_STEP}/deny", operation_id="deny_call", responses=_SAID)
async def deny_call(
    *,
    doors: Inside,
    session_id: SessionId,
    turn: TurnId,
    step: StepKey,
    body: Annotated[
        Reason | None, Body(openapi_examples={"why": {"value": {"reason": "not that file"}}})
    ] = None,
    key: IdempotencyKey = None,
) -> Done:
    """Do not allow a call of a tool: the model is told so, with the reason, and goes on."""
    call, reason = _call(doors, session_id, turn, step, key), body.reason if body else ""
    return await _sent(doors, Approve(**call, granted=False, reason=reason))


@router.post(f"{_STEP}/answer", operation_id="answer_question", responses=_SAID)
async def answer_question(
    *,
    doors: Inside,
    session_id: SessionId,
    turn: TurnId,
    step: StepKey,
    body: Annotated[
        Answered,
        Body(openapi_examples={"a": {"value": {"action": "accept", "content": {"city": "Rome"}}}}),
    ],
    key: IdempotencyKey = None,
) -> Done:
    """Answer what a tool asks: accept with content, decline, or cancel."""
    call = _call(doors, session_id, turn, step, key)
    return await _sent(doors, AnswerElicitation(**call, **dict(body)))


def _call(doors: Doors, session: str, turn: str, step: str, key: str | None) -> dict[str, Any]:
    """What commands to a call have in common."""
    return {
        "session": session,
        "by": doors.principal,
        "id": command_id(key),
        "turn": turn,
        "step": step,
    }


async def _sent(doors: Doors, command: Approve | AnswerElicitation) -> Done:
    accepted = await doors.commands.send(command)
    return Done(
        session_id=command.session,
        position=accepted.position,
        turn=command.turn,
        status=accepted.state or "open",
    )
