"""What a message would cost, before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import Field

from actors.providers.port import Capabilities
from api.attachments import MOST, NewAttachment, attached
from api.doors import Doors, Inside
from api.following import unknown_session
from api.openapi import problems
from api.price_tables import CurrentProviders
from api.projected import all_caught_up
from api.routes.turns import MAX_MESSAGE
from api.strict_json import StrictJSONRoute
from api.views import SESSION_EXAMPLE, NewSession, SessionId
from events.account import Account, account_of
from events.config import SessionConfig
from events.envelope import Event, now
from events.errors import ConfigError
from events.session import Session
from events.store import BlobStore
from events.values import Blob, Message, Value
from projections.estimate import BudgetLeft, Estimate, Known, estimate

router = APIRouter(prefix="/v1", tags=["turns"], route_class=StrictJSONRoute)


class Draft(Value):
    """A message that is not sent."""

    content: str = Field(min_length=1, max_length=MAX_MESSAGE)
    attachments: tuple[NewAttachment, ...] = Field(
        default=(), max_length=MOST, description="images and texts that would go with it"
    )


class SessionDraft(Draft):
    """A first message, and the session that it would begin; neither is kept."""

    session: NewSession


@router.post(
    "/sessions/{session_id}/estimate",
    operation_id="estimate_turn",
    responses=problems(400, 404, 409, 413, 415, 503),
)
async def estimate_turn(
    doors: Inside,
    session_id: SessionId,
    body: Annotated[
        Draft, Body(openapi_examples={"a question": {"value": {"content": "What is a saga?"}}})
    ],
) -> Estimate:
    """What a message to this session would cost: likely, and at most. Nothing is sent or kept.

    The session's router is run through with made-up answers, so everyone is shown what they would
    be shown. The likely length of an answer is the median of the model's past ones.
    """
    events = await doors.room.store.read(session_id)
    if not events:
        raise unknown_session(session_id)
    return await _estimate(doors, events, body)


@router.post(
    "/estimate",
    operation_id="estimate_session",
    responses=problems(400, 409, 413, 415, 503),
)
async def estimate_session(
    doors: Inside,
    body: Annotated[
        SessionDraft,
        Body(
            openapi_examples={
                "three roles": {"value": {"session": SESSION_EXAMPLE, "content": "What is a saga?"}}
            }
        ),
    ],
) -> Estimate:
    """What the first message of such a session would cost: likely, and at most.

    Neither the session nor the message is kept, and nothing is sent.
    """
    _possible(doors, body.session)
    return await _estimate(doors, body.session.config, body)


def _possible(doors: Doors, config: SessionConfig) -> None:
    """Raise the `ConfigError` that a session of providers or of a size that are not here gets."""
    most = doors.room.settings.max_participants
    if len(config.models) > most:
        raise ConfigError(
            f"{len(config.models)} participants are more than the {most} allowed here: "
            "leave some out, or raise CONTROL_ROOM_MAX_PARTICIPANTS"
        )
    for one in config.models:
        doors.room.providers.find(one.provider)


async def _estimate(doors: Doors, begin: SessionConfig | Sequence[Event], draft: Draft) -> Estimate:
    files = await attached(_Unkept(doors.room.blobs), draft.attachments)
    message = Message(content=draft.content, attachments=files)
    account = await _account(doors)
    await all_caught_up(doors)
    providers = CurrentProviders(doors.room.providers, doors.room.settings.environment)

    def work() -> Estimate:
        known = _known(doors, _config(begin), providers)
        return estimate(begin, message, known, doors.room.load)

    try:
        made = await asyncio.to_thread(work)
    finally:
        await providers.close()
    return made.model_copy(update={"account": account})


async def _account(doors: Doors) -> BudgetLeft | None:
    """What the daily budget leaves to whoever asks; None where the room has none."""
    daily = doors.room.settings.daily_budget
    budget = None if daily is None else daily.of(doors.principal)
    if budget is None:
        return None
    account = Account(account_of(doors.principal, now().date()))
    for event in await doors.room.store.read(account.stream):
        account.apply(event)
    return BudgetLeft.of(budget.limit, account.spent, account.held)


class _Unkept:
    """A blob store that keeps nothing new: what is put is only given its reference."""

    def __init__(self, blobs: BlobStore) -> None:
        self.get, self.size, self.close = blobs.get, blobs.size, blobs.close

    def put(self, content: bytes, media_type: str = "text/plain; charset=utf-8") -> Blob:
        return Blob.of(content, media_type)


def _config(begin: SessionConfig | Sequence[Event]) -> SessionConfig:
    if isinstance(begin, SessionConfig):
        return begin
    session = Session(begin[0].stream)
    for event in begin:
        session.apply(event)
    assert session.config
    return session.config


def _known(doors: Doors, config: SessionConfig, providers: CurrentProviders) -> dict[str, Known]:
    """What is known of each participant's model."""
    models = [(one.provider, one.model_name) for one in config.models]
    past = doors.room.projections.past(models)
    known = {}
    for one in config.models:
        provider = providers.get(one.provider)
        able = Capabilities() if provider is None else provider.capabilities(one.model_name)
        known[one.id] = Known(
            prices=None if provider is None else provider.prices(one.model_name),
            structured_output=able.structured_output,
            images=able.images,
            context_length=able.context_length,
            past=past[one.provider, one.model_name],
        )
    return known
