"""What the API takes and gives, besides what events and projections define themselves."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query
from pydantic import BaseModel, Field

from api.attachments import MOST, NewAttachment
from api.problems import CURSOR
from events.config import Budget, History, Participant, Pattern, SessionConfig
from events.session import Session
from events.turns import TurnStatus
from events.values import Id, Value

MAX_SEQUENCE = 2**63 - 1
MAX_WAIT = 600
LAST_TURNS = 20

SESSION_EXAMPLE: dict[str, Any] = {
    "session_id": "sess_abc123",
    "routing_pattern": "coordinator",
    "models": [
        {
            "id": "model_1",
            "provider": "rehearsal",
            "model_name": "steady",
            "role": "architect",
            "system_prompt": "You are a solutions architect. Focus on high-level design.",
            "temperature": 0.7,
            "max_tokens": 2000,
        },
        {
            "id": "model_2",
            "provider": "rehearsal",
            "model_name": "steady",
            "role": "coder",
            "system_prompt": "You write production-ready code. Be concise.",
            "temperature": 0.2,
            "max_tokens": 4000,
        },
        {
            "id": "model_3",
            "provider": "rehearsal",
            "model_name": "steady",
            "role": "reviewer",
            "system_prompt": "Review code for bugs, security, performance.",
            "temperature": 0.3,
        },
    ],
    "coordinator": "model_1",
}

# --- parameters ----------------------------------------------------------------------------------

MAX_KEY = 256
"""Characters of an idempotency key."""

SessionId = Annotated[
    Id, Path(description="the session's id", openapi_examples={"a": {"value": "sess_abc123"}})
]
TurnId = Annotated[Id, Path(description="the turn's id", openapi_examples={"a": {"value": "t1"}})]
After = Annotated[int, Query(ge=0, le=MAX_SEQUENCE, description=CURSOR)]
Limit = Annotated[int, Query(ge=1, le=1000, description="most items in one answer")]
Page = Annotated[
    str | None,
    Query(max_length=256, description="'next' of the page before; without it the first page"),
]
Tag = Annotated[str | None, Query(max_length=128, description="only those that have it")]
Wait = Annotated[
    float | None,
    Query(
        ge=0,
        le=MAX_WAIT,
        allow_inf_nan=False,
        description="seconds to wait for the turn's end; without it, or when they run out, the "
        "answer is 202",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        description="names this request: sent again under the same key, it takes effect once",
    ),
]
LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=MAX_SEQUENCE,
        description="what a browser sends when it connects again; goes before 'after'",
    ),
]


def command_id(key: str | None) -> str:
    """The id of a command: what the client calls it, or a random one."""
    return key or secrets.token_hex(16)


# --- requests ------------------------------------------------------------------------------------


class NewSession(SessionConfig):
    """A session's configuration; without `session_id` it is given one."""

    session_id: Id = Field(default_factory=lambda: f"sess_{secrets.token_hex(8)}")

    @property
    def config(self) -> SessionConfig:
        """As the log keeps it."""
        return SessionConfig.model_construct(**dict(self))


class SessionChanges(Value):
    """The keys of a session's configuration that are to change; null is the key's default."""

    session_id: Id | None = Field(default=None, description="cannot be changed")
    routing_pattern: Pattern | None = None
    models: tuple[Participant, ...] | None = None
    coordinator: str | None = None
    script: str | None = None
    title: str | None = None
    history: History | None = None
    window: int | None = None
    rounds: int | None = None
    max_steps: int | None = None
    deadline: float | None = None
    queue: int | None = None
    tags: tuple[str, ...] | None = None
    is_youtube_run: bool | None = None
    budget: Budget | None = None

    def changes(self) -> dict[str, Any]:
        """The keys that were given, with null replaced by the default of the key."""
        given = self.model_dump(mode="json", exclude_unset=True)
        fields = SessionConfig.model_fields
        return {
            key: fields[key].get_default(call_default_factory=True)
            if value is None and not fields[key].is_required()
            else value
            for key, value in given.items()
        }


class NewTurn(Value):
    """A message to a session."""

    content: str = Field(min_length=1, description="the message, up to 1 MB of UTF-8")
    attachments: tuple[NewAttachment, ...] = Field(
        default=(), max_length=MOST, description="images and texts that go with it"
    )
    queue: bool = Field(
        default=True, description="whether it may wait behind an open turn; else that is a 409"
    )


class RetryRequest(Value):
    """Whose answer is asked for again."""

    participant: Id


# --- answers -------------------------------------------------------------------------------------


class TurnSummary(BaseModel):
    """A turn in short: the positions of its first event and of its last."""

    turn: str
    status: TurnStatus
    started_at: int | None = Field(description="position of turn.started; null while queued")
    ended_at: int | None = Field(description="position of its end; null until then")


class TurnsSummary(BaseModel):
    """The turns of a session in short."""

    total: int
    open: str | None = Field(description="the turn under way")
    queued: tuple[str, ...] = Field(description="turns that wait, in their order")
    last: tuple[TurnSummary, ...] = Field(description=f"the last {LAST_TURNS}, the oldest first")


class SessionView(BaseModel):
    """A session as of `position`."""

    session_id: str
    status: Literal["active", "paused", "closed"]
    position: int = Field(description="of the session's last event")
    config: SessionConfig
    turns: TurnsSummary

    @classmethod
    def of(cls, session: Session) -> SessionView:
        """The view of a folded session that exists."""
        assert session.config
        assert session.status != "none"
        turns = list(session.turns.values())
        return cls(
            session_id=session.stream,
            status=session.status,
            position=session.position,
            config=session.config,
            turns=TurnsSummary(
                total=len(turns),
                open=session.open.id if session.open else None,
                queued=tuple(session.queue),
                last=tuple(
                    TurnSummary(
                        turn=turn.id,
                        status=turn.status,
                        started_at=turn.started_at,
                        ended_at=turn.ended_at,
                    )
                    for turn in turns[-LAST_TURNS:]
                ),
            ),
        )


class TurnAccepted(BaseModel):
    """A turn that is committed, and not waited for (any longer)."""

    turn: str
    position: int = Field(description="of the event that this request caused")
    status: str = Field(description="queued, open, completed, failed or cancelled")


class Done(BaseModel):
    """What a command has done, durably."""

    session_id: str
    position: int = Field(description="of the event that holds it")
    turn: str | None = None
    status: str = Field(description="of the turn, or else of the session")


class EventData(BaseModel):
    """What an event says, and where it stands in its session."""

    stream: str = Field(description="the session")
    position: int = Field(description="in the session, from 1 without gaps: the cursor")
    version: int = Field(description="of the payload's form")
    by: str = Field(description="who caused it")
    command: str | None = Field(description="id of the request that caused it")
    turn: str | None
    step: str | None = Field(description="such as ask:architect:2")
    cause: int | None = Field(description="position of the event that it follows from")
    payload: dict[str, Any] = Field(description="by the event's type")


class CloudEvent(BaseModel):
    """An event as CloudEvents 1.0 JSON."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str = Field(description="such as model.answered")
    time: str = Field(description="for people; order is position")
    datacontenttype: Literal["application/json"]
    sequence: str = Field(default="", description="place in the store's own order, where asked so")
    correlationid: str = Field(default="", description="the turn")
    causationid: str = Field(default="", description="id of the event that it follows from")
    data: EventData


class EventPage(BaseModel):
    """Events in order, as CloudEvents 1.0, and the cursor for the next page."""

    events: tuple[CloudEvent, ...]
    next: int = Field(description="give it as 'after' to get what follows")


BreakerState = Literal["closed", "open", "half-open"]


class ProviderView(BaseModel):
    """A configured provider; never a secret of it."""

    id: str
    type: str
    missing: tuple[str, ...] = Field(
        description="environment variables that it still needs, and files (file:/path)"
    )
    reachable: bool = Field(description="whether it answers now")
    detail: str | None = Field(default=None, description="why it does not")
    breakers: dict[str, BreakerState] = Field(
        description="of its models that run; one that is open is not asked for a while"
    )


class ProvidersView(BaseModel):
    """All configured providers."""

    providers: tuple[ProviderView, ...]


class ModelView(BaseModel):
    """A model that a session may name."""

    provider: str
    model_name: str


class UnavailableView(BaseModel):
    """A provider that did not tell its models, and why."""

    provider: str
    detail: str


class RunningView(BaseModel):
    """An actor of a model, which takes calls now."""

    provider: str
    model_name: str
    running: int = Field(description="calls that its provider works on")
    waiting: int = Field(description="calls that wait for their turn, a limit or the next try")
    answered: int
    failed: int
    held_for: float = Field(description="seconds for which its provider takes no call")
    breaker: BreakerState


class ModelsView(BaseModel):
    """The models that the providers offer; some do not tell theirs, and take any name they know."""

    models: tuple[ModelView, ...]
    unavailable: tuple[UnavailableView, ...]
    running: tuple[RunningView, ...]


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether messages can be posted and read; `missing` says what is not there."""

    ready: bool
    missing: tuple[str, ...] = ()
