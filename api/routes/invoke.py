"""`/models/{id}/invoke`: how a workflow that only knows webhooks asks a model of its run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.run_tokens import RunToken
from api.doors import Inside
from api.openai_door.answering import while_there
from api.openai_door.backend import Answering, Completion, FinishReason
from api.openai_door.bringing import Brought, bring
from api.openai_door.faults import DoorError
from api.openai_door.requests import MOST_MESSAGES, ChatMessage, ChatRequest
from api.openapi import problems
from api.problems import ProblemError, kind_of
from api.run_backend import RunModels
from api.strict_json import StrictJSONRoute
from api.views import IdempotencyKey
from events.values import Id, Usage

router = APIRouter(prefix="/models", tags=["runs"], route_class=StrictJSONRoute)

ParticipantId = Annotated[
    Id,
    Path(description="which of the run's models", openapi_examples={"a": {"value": "model_1"}}),
]


class Invocation(BaseModel):
    """What the model is asked: a message, or a whole conversation."""

    model_config = ConfigDict(extra="forbid")

    message: str | None = Field(default=None, min_length=1)
    prompt: str | None = Field(default=None, min_length=1, description="another name of message")
    messages: list[ChatMessage] | None = Field(
        default=None, min_length=1, max_length=MOST_MESSAGES, description="in OpenAI's form"
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=2**53)

    @model_validator(mode="after")
    def _one(self) -> Invocation:
        if sum(one is not None for one in (self.message, self.prompt, self.messages)) != 1:
            raise ValueError("give either 'message' (or 'prompt') or 'messages'")
        return self

    def request(self, model: str) -> ChatRequest:
        """The same in the form of a chat completion."""
        asked = [ChatMessage(role="user", content=self.message or self.prompt)]
        return ChatRequest(
            model=model,
            messages=self.messages or asked,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )


class Invoked(BaseModel):
    """What the model answers."""

    text: str
    model: str = Field(description="its id in the run")
    usage: Usage
    finish_reason: FinishReason


@router.post(
    "/{participant}/invoke",
    operation_id="invoke_model",
    response_model=Invoked,
    responses=problems(400, 401, 404, 409, 413, 415, 502, 503),
)
async def invoke_model(
    *,
    doors: Inside,
    request: Request,
    participant: ParticipantId,
    body: Annotated[
        Invocation, Body(openapi_examples={"a message": {"value": {"message": "Write a poem."}}})
    ],
    key: IdempotencyKey = None,
) -> Response:
    """Ask a model of the run that the token is bound to: `Authorization: Bearer TOKEN`.

    A run of n8n is handed the token, and the URL of this call for each of its models. Every call is
    a step of the run: budgets, costs and the log hold for it.
    """
    run: RunToken | None = request.scope["state"]["run"]
    if run is None:
        raise ProblemError(
            "unauthorized",
            "only runs of workflows ask here, with the token that they are handed; for anyone else"
            " there is POST /openai/v1/chat/completions",
        )
    models = RunModels(doors, run)
    try:
        brought = await bring(doors.room.blobs, body.request(participant))
    except BaseException:
        models.leave()
        raise
    return _Answer(models, brought, key)


class _Answer(Response):
    """Makes the call when it is to be sent: the call is over when the answer was passed on."""

    def __init__(self, models: RunModels, brought: Brought, key: str | None) -> None:
        super().__init__()
        self._models, self._brought, self._key = models, brought, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._models.answering(self._brought, self._key, pieces=False) as answering:
                await while_there(answering, self._whole(answering, scope, receive, send), receive)
        except DoorError as error:
            raise _problem(error) from None
        finally:
            self._models.leave()

    async def _whole(
        self, answering: Answering, scope: Scope, receive: Receive, send: Send
    ) -> None:
        content = self._said(await answering.completion())
        await Response(content, media_type="application/json")(scope, receive, send)

    def _said(self, completion: Completion) -> str:
        return Invoked(
            text=completion.text,
            model=self._brought.model,
            usage=completion.usage,
            finish_reason=completion.finish_reason,
        ).model_dump_json()


def _problem(error: DoorError) -> ProblemError:
    """The error in the form of the other routes; what a model failed with is a 502."""
    known = error.status in (400, 404, 409)
    kind = {400: "invalid"}.get(error.status) or kind_of(error.status if known else 502)
    return ProblemError(kind, error.message)
