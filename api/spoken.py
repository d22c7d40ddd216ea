"""What clients say over a session's stream: to calls of tools that wait for a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from actors.deciding import explain
from actors.messages import AnswerElicitation, Approve
from api.doors import Doors
from api.problems import KINDS, ProblemError
from api.views import command_id
from events.errors import ControlRoomError
from events.values import Id, Value

LONGEST = 128 * 1024
"""Characters of what is said at once."""


class _Said(Value):
    """Base: to which call; the answer names `id` again, and a repetition of it changes nothing."""

    turn: Id
    step: str = Field(max_length=256)
    id: str | None = Field(default=None, min_length=1, max_length=256)


class _Approving(_Said):
    type: Literal["approve", "deny"]
    reason: str = Field(default="", max_length=4000)


class _Answering(_Said):
    type: Literal["answer"]
    question: Id | None = None
    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None


_SAID: TypeAdapter[_Approving | _Answering] = TypeAdapter(
    Annotated[_Approving | _Answering, Field(discriminator="type")]
)


async def carry_out(doors: Doors, session: str, text: str) -> str:
    """Do what was said; returns the frame that says what became of it.

    That is `{"type": "accepted", "id", "turn", "step", "position"}`, or `{"type": "refused", "id",
    "status", "detail"}` with the HTTP status that fits.
    """
    if len(text) > LONGEST:
        return _refused(None, 413, f"say at most {LONGEST} characters at once")
    try:
        said = _SAID.validate_python(from_json(text, allow_inf_nan=False))
    except ValidationError as error:
        return _refused(None, 422, explain(error))
    except ValueError as error:
        return _refused(None, 422, f"what was said is not JSON: {error}")
    common: dict[str, Any] = {
        "session": session,
        "by": doors.principal,
        "id": command_id(said.id),
        "turn": said.turn,
        "step": said.step,
    }
    command: Approve | AnswerElicitation
    if isinstance(said, _Approving):
        command = Approve(**common, granted=said.type == "approve", reason=said.reason)
    else:
        command = AnswerElicitation(
            **common, question=said.question, action=said.action, content=said.content
        )
    try:
        accepted = await doors.commands.send(command)
    except ProblemError as problem:
        return _refused(said.id, KINDS[problem.kind].status, problem.detail)
    except ControlRoomError as error:
        return _refused(said.id, 503, error.message)
    return _frame("accepted", said.id, turn=said.turn, step=said.step, position=accepted.position)


def _refused(id: str | None, status: int, detail: str) -> str:
    return _frame("refused", id, status=status, detail=detail[:4000])


def _frame(kind: str, id: str | None, **more: Any) -> str:
    return orjson.dumps({"type": kind, "id": id, **more}).decode()
