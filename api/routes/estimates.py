"""What a message would cost, before it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field

from actors import subjects
from actors.facts import FACTS, MODELS
from actors.grounds import check_size
from api.attachments import MOST, NewAttachment, attached
from api.doors import Doors, Inside
from api.following import unknown_session
from api.openapi import problems
from api.projected import all_caught_up
from api.routes.turns import MAX_MESSAGE
from api.strict_json import StrictJSONRoute
from api.views import SESSION_EXAMPLE, NewSession, SessionId
from events.account import Account, account_of
from events.config import SessionConfig
from events.envelope import Event, now
from events.errors import ConfigError
from events.prices import Prices
from events.session import Session
from events.store import BlobStore
from events.values import Blob, Message, Value
from projections.estimate import BudgetLeft, Estimate, Known, estimate

FACTS_WITHIN = 10.0
"""Seconds in which a router says what it knows of models."""

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
    check_size(body.session.config, doors.room.settings.max_participants)
    return await _estimate(doors, body.session.config, body)


async def _estimate(doors: Doors, begin: SessionConfig | Sequence[Event], draft: Draft) -> Estimate:
    files = await attached(_Unkept(doors.room.blobs), draft.attachments)
    message = Message(content=draft.content, attachments=files)
    account = await _account(doors)
    await all_caught_up(doors)
    config = await asyncio.to_thread(_config, begin)
    facts = await _facts(doors, config, strictly=isinstance(begin, SessionConfig))

    def work() -> Estimate:
        return estimate(begin, message, _known(doors, config, facts), doors.room.load)

    made = await asyncio.to_thread(work)
    return made.model_copy(update={"account": account})


async def _facts(doors: Doors, config: SessionConfig, strictly: bool) -> dict[str, dict[str, Any]]:
    """What a turn of each participant would stand on, as the session's router knows it by now.

    Raises a `ConfigError` where there is no such model and `strictly` one is wanted.
    """
    subject = subjects.facts(subjects.partition(config.session_id))
    wanted = MODELS.dump_json(tuple((one.provider, one.model_name) for one in config.models))
    told = FACTS.validate_json(await doors.room.bus.request(subject, wanted, FACTS_WITHIN))
    facts = {}
    for one, fact in zip(config.models, told, strict=True):
        if isinstance(fact, dict):
            facts[one.id] = fact
        elif strictly:
            raise ConfigError(fact)
    return facts


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


def _known(
    doors: Doors, config: SessionConfig, facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Known]:
    """What is known of each participant's model."""
    models = [(one.provider, one.model_name) for one in config.models]
    past = doors.room.projections.past(models)
    known = {}
    for one in config.models:
        fact = facts.get(one.id, {})
        prices = fact.get("prices")
        known[one.id] = Known(
            prices=None if prices is None else Prices.model_validate(prices),
            structured_output=fact.get("structured_output", False),
            images=fact.get("images", False),
            context_length=fact.get("context_length"),
            max_tokens=fact.get("max_tokens", True),
            past=past[one.provider, one.model_name],
        )
    return known
