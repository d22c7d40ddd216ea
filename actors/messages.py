"""What travels over NATS, as JSON. Everything stays under 512 kB: longer texts go as blobs."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from actors.addresses import Address, ModelAddress, ToolAddress, WorkflowAddress
from actors.providers.port import Capabilities
from events.chat import WireMessage
from events.config import SessionConfig
from events.runs import RunCompleted, RunFailed
from events.tools import ElicitationRequested, ToolFailed, ToolReturned
from events.types import (
    BudgetRefused,
    BudgetReserved,
    ModelAnswered,
    ModelDiscarded,
    ModelFailed,
    Retry,
)
from events.values import (
    Blob,
    Digest,
    Id,
    Message,
    Parameters,
    Text,
    Value,
)

# --- router and model ----------------------------------------------------------------------------


class Ask(Value):
    """Router to model: please answer. `messages` is a blob where the list is long."""

    session: Id
    turn: Id
    step: str
    attempt: int
    reply: str = Field(description="subject that takes the outcome as a request")
    model: str
    provider: str
    role: str | None = None
    purpose: str
    messages: tuple[WireMessage, ...] | Blob
    parameters: Parameters
    chat_template: str | None = None
    tools: Blob | None = Field(default=None, description="as in `model.asked`")
    tool_choice: Literal["none", "required"] | None = None

    @property
    def address(self) -> ModelAddress:
        """Whom it is for."""
        return ModelAddress(self.provider, self.model)


class CallTool(Value):
    """Router to tool server: please call the tool, once.

    Heartbeats, cancelling and the outcome are as with `Ask`.
    """

    session: Id
    turn: Id
    step: str
    attempt: int
    reply: str = Field(description="subject that takes the outcome as a request")
    server: str
    tool: str
    arguments: Text

    @property
    def address(self) -> ToolAddress:
        """Whom it is for."""
        return ToolAddress(self.server)


class RunWorkflow(Value):
    """Router to workflow actor: please run the workflow, and call the room with this token.

    Heartbeats, cancelling and the outcome are as with `Ask`. `models` are those that it may ask, by
    the names that the doors know.
    """

    session: Id
    turn: Id
    step: str
    attempt: int
    reply: str = Field(description="subject that takes the outcome as a request")
    framework: str
    config: dict[str, Any] | Blob
    inputs: Text = Field(description="JSON text")
    models: dict[str, dict[str, Any]]
    token: str = Field(repr=False)
    url: str = Field(default="", description="of the doors; default: those that the actor knows")

    @property
    def address(self) -> WorkflowAddress:
        """Whom it is for."""
        return WorkflowAddress(self.framework)

    @classmethod
    def of(cls, config: SessionConfig, inputs: Text, **where: Any) -> RunWorkflow:
        """The run of a session's workflow on these inputs."""
        assert config.workflow
        models = {
            one.id: {"name": one.label, "provider": one.provider, "model_name": one.model_name}
            for one in config.models
        }
        return cls(
            framework=config.workflow.framework,
            config=config.workflow.config,
            inputs=inputs,
            models=models,
            **where,
        )


class Heartbeat(Value):
    """Model to router: still at it."""

    session: Id
    turn: Id
    step: str
    attempt: int


class Learned(Value):
    """What a model's server says that it can do, where its configuration says otherwise."""

    provider: str
    model: str
    capabilities: Capabilities


class Outcome(Value):
    """Model or tool server to router, repeated until answered `committed` or `discarded`.

    A cancelled call of a model sends `ModelDiscarded` with what it had cost by then. What the actor
    has `learned` is a fact of later turns. `elicited` is what a tool asks the person before its
    outcome comes.
    """

    session: Id
    turn: Id
    step: str
    attempt: int
    answered: ModelAnswered | None = None
    failed: ModelFailed | None = None
    discarded: ModelDiscarded | None = None
    learned: Learned | None = None
    returned: ToolReturned | None = None
    tool_failed: ToolFailed | None = None
    elicited: ElicitationRequested | None = None
    completed: RunCompleted | None = None
    run_failed: RunFailed | None = None


class Receipt(Value):
    """Router to model: what became of the outcome."""

    status: Literal["committed", "discarded"]


# --- accounts ------------------------------------------------------------------------------------


class Reserve(Value):
    """To an account's owner: hold so much for that attempt; repeated until answered.

    The same attempt always gets the same answer. `warn_at` are the shares to be warned of.
    """

    op: Literal["reserve"] = "reserve"
    account: str
    session: Id
    turn: Id
    step: str
    attempt: int
    amount: Decimal
    limit: Decimal
    warn_at: tuple[Decimal, ...] = ()


class Settle(Value):
    """To an account's owner: what that attempt has cost; repeated until answered."""

    op: Literal["settle"] = "settle"
    account: str
    session: Id
    turn: Id
    step: str
    attempt: int
    cost: Decimal
    limit: Decimal
    warn_at: tuple[Decimal, ...] = ()


ACCOUNTING: TypeAdapter[Reserve | Settle] = TypeAdapter(
    Annotated[Reserve | Settle, Field(discriminator="op")]
)


class Accounted(Value):
    """Answer of an account's owner, when it is committed; for a settlement both are None."""

    reserved: BudgetReserved | None = None
    refused: BudgetRefused | None = None


# --- commands ------------------------------------------------------------------------------------


class Command(Value):
    """Base of all commands: who asks, and an id under which a repetition is recognised."""

    session: Id
    by: str
    id: str = Field(min_length=1, max_length=256)


class CreateSession(Command):
    """Begin a session; the same config again is the same session, another one is refused."""

    op: Literal["create"] = "create"
    config: SessionConfig | Blob


class Reconfigure(Command):
    """Replace parts of the configuration (a JSON merge of the top-level keys)."""

    op: Literal["reconfigure"] = "reconfigure"
    changes: dict[str, Any]


class PostTurn(Command):
    """Post a message; `queue` false refuses it where a turn is open."""

    op: Literal["post"] = "post"
    message: Message
    queue: bool = True


class RetryTurn(Command):
    """Ask one participant of an ended turn again."""

    op: Literal["retry"] = "retry"
    retry: Retry


class CancelTurn(Command):
    """Call off a turn, open or queued."""

    op: Literal["cancel"] = "cancel"
    turn: Id
    reason: str = Field(default="", max_length=1000)


class Approve(Command):
    """Allow the call of a tool that waits for a person, or (not `granted`) do not allow it."""

    op: Literal["approve"] = "approve"
    turn: Id
    step: str = Field(max_length=256)
    granted: bool
    reason: str = Field(default="", max_length=4000)


class AnswerElicitation(Command):
    """Answer what a tool asks while it works; `question` may be left out where there is one."""

    op: Literal["answer"] = "answer"
    turn: Id
    step: str = Field(max_length=256)
    question: Id | None = None
    action: Literal["accept", "decline", "cancel"]
    content: dict[str, Any] | None = None


class Pause(Command):
    """Issue no new step until resumed."""

    op: Literal["pause"] = "pause"


class Resume(Command):
    """Go on."""

    op: Literal["resume"] = "resume"


class Close(Command):
    """Cancel what is open or queued and take no further turn."""

    op: Literal["close"] = "close"


class RunAsk(Command):
    """A workflow's run asks a model: see `run.asked`."""

    op: Literal["run_ask"] = "run_ask"
    turn: Id
    attempt: int
    participant: Id
    given: Blob
    tools: Blob | None = None
    tool_choice: Literal["required"] | None = None
    parameters: Parameters
    digest: Digest


class RunCall(Command):
    """A workflow's run calls a tool: see `run.called`."""

    op: Literal["run_call"] = "run_call"
    turn: Id
    attempt: int
    name: str = Field(max_length=256)
    arguments: Text
    digest: Digest


AnyCommand = (
    CreateSession
    | Reconfigure
    | PostTurn
    | RetryTurn
    | CancelTurn
    | Approve
    | AnswerElicitation
    | Pause
    | Resume
    | Close
)
RunCommand = RunAsk | RunCall
COMMAND: TypeAdapter[AnyCommand | RunCommand] = TypeAdapter(
    Annotated[AnyCommand | RunCommand, Field(discriminator="op")]
)


class Problem(Value):
    """Why a command was not carried out; `status` is the HTTP status that fits."""

    status: int
    error: str
    message: str


class Accepted(Value):
    """The command is committed: durable before this was sent."""

    session: Id
    position: int = Field(description="of the event that the command caused")
    turn: str | None = None
    step: str | None = Field(default=None, description="that a call of a run is")
    matched: bool = Field(default=False, description="whether an earlier attempt made that step")
    state: str | None = Field(default=None, description="started or queued, for a turn")
    repeated: bool = False


class Reply(Value):
    """Answer to a command: one of both."""

    accepted: Accepted | None = None
    problem: Problem | None = None


class Retire(Value):
    """To a host: let go of all models, where none had a call for `idle` seconds."""

    idle: float


class Retired(Value):
    """Whether it did."""

    done: bool


class Gone(Value):
    """To all routers: this actor takes no further call; have one started before the next."""

    actor: Address


class Ensure(Value):
    """To the supervisor, or a host: have this actor running."""

    actor: Address
