"""The configuration of a session, as people write it and as `session.created` keeps it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from events.grants import ToolGrant
from events.values import Id, Value

History = Literal["shared", "isolated"]
Pattern = Literal["broadcast", "coordinator", "round_robin", "voting", "script", "workflow"]
Printable = Annotated[str, Field(min_length=1, max_length=512)]


class Fallback(Value):
    """Another model that stands in where a participant's own fails."""

    provider: Printable
    model_name: Printable


class Budget(Value):
    """The most that may be spent, in US dollars; a plain number or text is the limit.

    `warn_at` are shares of it: when one is reached, that is recorded.
    """

    limit: Decimal = Field(gt=0, le=1_000_000_000)
    warn_at: tuple[Annotated[Decimal, Field(gt=0, lt=1)], ...] = Field(
        default=(Decimal("0.8"),), max_length=16
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        plain = isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
        return {"limit": value} if plain else value


class Participant(Value):
    """One model in the conversation, in one role."""

    id: Id
    provider: Printable
    model_name: Printable
    role: str | None = Field(default=None, max_length=512)
    system_prompt: str | None = Field(default=None, max_length=60_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    chat_template: str | None = Field(default=None, max_length=60_000)
    history: History | None = Field(default=None, description="default: the session's")
    window: int | None = Field(default=None, ge=1, description="default: the session's")
    fallbacks: tuple[Fallback, ...] = ()
    retry_begun: bool = Field(
        default=False,
        description="ask again also where the server may have worked on the answer before it"
        " broke off or stayed away; both are paid",
    )
    extra: dict[str, Any] = Field(default_factory=dict, description="passed to the provider as is")
    answer_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema of its answers, where its router asks for none"
    )
    budget: Budget | None = Field(default=None, description="of this one in the session")
    tools: tuple[ToolGrant, ...] = Field(
        default=(), max_length=64, description="of which servers, which, and whether with approval"
    )
    tool_rounds: int | None = Field(
        default=None, ge=1, le=100, description="how often it may call tools for one answer: 8"
    )

    @property
    def label(self) -> str:
        """How the others see this participant."""
        return f"{self.role} ({self.id})" if self.role and self.role != self.id else self.id


class Workflow(Value):
    """A workflow of another framework, which runs on the session's models and on these tools.

    `config` is the framework's own; each posted message is the inputs of a run.
    """

    framework: Printable
    config: dict[str, Any]
    tools: tuple[ToolGrant, ...] = Field(default=(), max_length=64)


class SessionConfig(Value):
    """Who sits in a session and how it is routed.

    `deadline` is in seconds and covers one turn; `max_steps` bounds the steps of one turn;
    `rounds` is how often a round-robin debate goes round (0: one speaker a message);
    `queue` is how many messages may wait behind an open turn.
    """

    session_id: Id
    routing_pattern: Pattern = "broadcast"
    models: tuple[Participant, ...] = Field(min_length=1, max_length=64)
    coordinator: str | None = None
    script: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="module:function"
    )
    workflow: Workflow | None = Field(
        default=None, description="what runs, where the pattern is workflow"
    )
    title: str | None = Field(default=None, max_length=512)
    history: History = "shared"
    window: int | None = Field(default=None, ge=1)
    rounds: int = Field(default=0, ge=0, le=20)
    max_steps: int = Field(default=50, ge=1, le=1000)
    deadline: float = Field(default=600, gt=0, le=86_400)
    queue: int = Field(default=16, ge=0, le=1000)
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        default=(), max_length=64
    )
    is_youtube_run: bool = False
    budget: Budget | None = Field(default=None, description="of the whole session")

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: tuple[Participant, ...]) -> tuple[Participant, ...]:
        seen: set[str] = set()
        for model in models:
            if model.id in seen:
                raise ValueError(f"two participants are called {model.id!r}: give each its own id")
            seen.add(model.id)
        return models

    @model_validator(mode="after")
    def _routable(self) -> Self:
        ids = [model.id for model in self.models]
        if self.routing_pattern == "coordinator" and self.coordinator is None:
            raise ValueError(f"a coordinator session needs 'coordinator': one of {', '.join(ids)}")
        if self.coordinator is not None and self.coordinator not in ids:
            names = ", ".join(ids)
            raise ValueError(
                f"coordinator {self.coordinator!r} is not a participant: use one of {names}"
            )
        if self.routing_pattern == "script" and self.script is None:
            raise ValueError("a script session needs 'script': the router as 'module:function'")
        if (self.routing_pattern == "workflow") != (self.workflow is not None):
            raise ValueError("'workflow' belongs to the pattern 'workflow', which needs it")
        return self

    @property
    def granted(self) -> tuple[str, ...]:
        """The tool servers of which somebody in the session, or its workflow, may use tools."""
        workflow = self.workflow.tools if self.workflow else ()
        grants = (*(grant for one in self.models for grant in one.tools), *workflow)
        return tuple(dict.fromkeys(grant.server for grant in grants))

    def participant(self, id: str) -> Participant | None:
        """The participant of that id, or None."""
        return next((model for model in self.models if model.id == id), None)
