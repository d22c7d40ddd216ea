"""What a router holds in its hands: one turn of one session."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.routing import valid
from actors.routing.engine import TurnEngine
from actors.routing.offers import Offers
from actors.routing.pending import Pending
from actors.routing.steps import (
    Answer,
    AskStep,
    CallStep,
    DrawStep,
    Failure,
    RunStep,
    TimerStep,
    ToolResult,
)
from actors.routing.tool_loop import LONGEST_NAME, ROUNDS, call, token, tool_loop
from events.config import Participant, SessionConfig
from events.errors import RouterFault
from events.types import RouteDecided, Tally, VoteCast, VotesTallied

ACCOUNT = "@account"
"""Among the facts, beside the participants: no id has that form."""
WORKFLOW = "@workflow"
"""Likewise, for the tools that a workflow may call."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a turn depends on and the log does not hold otherwise, by participant."""

    structured_output: frozenset[str] = frozenset()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> Mapping[str, Any] | None:
        """The account that pays for the turn: its `stream`, `limit` and `warn_at`."""
        found: Mapping[str, Any] | None = self.raw.get(ACCOUNT)
        return found

    def of_model(self, participant: str, fallback: int) -> Mapping[str, Any]:
        """What is known of a participant's own model (0), or of one of its fallbacks."""
        known: Mapping[str, Any] = self.raw.get(participant, {})
        if fallback:
            others = known.get("fallbacks", ())
            known = others[fallback - 1] if fallback <= len(others) else {}
        return known

    def blind(self, participant: str, fallback: int) -> bool:
        """Whether it is known that neither that model nor a later fallback takes images.

        Where one of these may, the step is to fail as it stands, so that it is asked.
        """
        later = self.raw.get(participant, {}).get("fallbacks", ())[fallback:]
        models = (self.of_model(participant, fallback), *later)
        return all(known.get("images") is False for known in models)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Facts:
        """The facts out of the recorded JSON: an object of what is known by participant."""
        able = (name for name, known in raw.items() if known.get("structured_output"))
        return cls(frozenset(able), raw)


class Turn:
    """One user message and everything that follows from it.

    A router is `async def route(turn: Turn) -> Answer | Failure | str | None`. It may await only
    what `ask`, `timer`, `draw`, `gather` and `first` return. A step is emitted when the method is
    called, not when it is awaited, so `a = turn.ask("x"); b = turn.ask("y")` asks both at once.
    What it returns is the turn's answer (a `Failure` is none). It must depend on nothing but the
    turn: no clock, no chance, no I/O, and no order of a set, which differs between processes.

    Whatever these methods cannot do raises `RouterFault`.
    """

    def __init__(
        self,
        engine: TurnEngine,
        *,
        id: str,
        message: str,
        config: SessionConfig,
        facts: Facts,
        last_speaker: str | None,
        offers: Offers | None = None,
    ) -> None:
        self._engine = engine
        self.id = id
        self.message = message
        self.config = config
        self.facts = facts
        self.last_speaker = last_speaker
        """Who was decided on last in this session, or None."""
        self._offers = offers or Offers()
        self._ids = frozenset(participant.id for participant in config.models)

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who sits in the session, in its order."""
        return self.config.models

    def ask(
        self,
        participant: str,
        *,
        instruction: str | None = None,
        purpose: str = "answer",
        public: bool = True,
        see: Literal["start", "now"] = "start",
        history: Literal["shared", "isolated", "none"] | None = None,
        exclude: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        tools: bool = True,
    ) -> Pending[Answer | Failure]:
        """Ask a participant; the outcome is an `Answer` or a `Failure`.

        `public` answers become part of the conversation. `see` decides what of it is shown: up to
        the turn's message (`start`), or also what was answered since (`now`), less the steps of
        this turn in `exclude`. `schema` asks for JSON of that form, where the model can do that.
        `purpose` is a word of up to 64 characters for the log. A participant that may use tools
        calls them before it answers, each call and each further question a step of its own; not so
        without `tools`.
        """
        self._known(participant)
        if instruction is not None:
            valid.text(instruction, "an instruction")
        valid.text(purpose, "a purpose", 64)
        valid.choice(see, "see", ("start", "now"))
        valid.choice(history, "history", (None, "shared", "isolated", "none"))
        for key in exclude:
            if not self._engine.emitted(valid.text(key, "an excluded step")):
                raise RouterFault(f"no step {key[:100]!r} of this turn: exclude what was asked")
        form = None if schema is None else valid.schema(schema)
        step = AskStep(
            "",
            participant,
            instruction=instruction,
            purpose=purpose,
            public=bool(public),
            see=see,
            history=history,
            exclude=tuple(exclude),
            schema=form,
            tools=bool(tools),
        )
        return self._asked(step)

    def ask_again(self, step: AskStep) -> Pending[Answer | Failure]:
        """Ask what an earlier turn asked, with the context of that time."""
        self._known(step.participant)
        return self._asked(step)

    def _asked(self, step: AskStep) -> Pending[Answer | Failure]:
        """Ask, and go on from there until no more tools are called."""
        offer = self._offers.of(step.participant) if step.tools else None
        if offer is not None and offer.forced is not None:
            step = step._replace(tool_choice="required")
        first = self._engine.emit("ask", step.participant, step.with_key)
        if offer is None:
            return first
        participant = self.config.participant(step.participant)
        rounds = (participant.tool_rounds if participant else None) or ROUNDS
        return self._engine.carry_on(first, tool_loop(self._engine, offer, rounds, step, first))

    def call(self, name: str, arguments: dict[str, Any]) -> Pending[ToolResult | Failure]:
        """Call a tool that a participant may use, as `server__tool`, once.

        The outcome is a `ToolResult`, or a `Failure`: of the call itself, where there is no such
        tool, or where a person, asked to allow it, did not.
        """
        valid.text(name, "the name of a tool", LONGEST_NAME)
        return call(self._engine, CallStep("", name, valid.arguments(arguments)))

    def run(self) -> Pending[str | Failure]:
        """Run the session's workflow; the outcome is its output.

        What it asks and calls meanwhile become steps of this turn too.
        """
        workflow = self.config.workflow
        if workflow is None:
            raise RouterFault("the session has no 'workflow' to run")
        return self._engine.emit(
            "run", token(workflow.framework), lambda key: RunStep(key, workflow.framework)
        )

    def timer(self, seconds: float, name: str = "timer") -> Pending[None]:
        """Wait for so many seconds, at most a day; pauses of the session do not count."""
        length = valid.seconds(seconds)
        return self._engine.emit("timer", valid.name(name), lambda key: TimerStep(key, length))

    def draw(self, name: str = "chance") -> Pending[int]:
        """A number by chance, uniform in [0, 2**53); it is recorded."""
        return self._engine.emit("draw", valid.name(name), DrawStep)

    def gather(self, *awaitables: Awaitable[Any]) -> Pending[tuple[Any, ...]]:
        """All values in order; no branch stops another."""
        return self._engine.gather(*awaitables)

    def first(self, *awaitables: Awaitable[Any]) -> Pending[Any]:
        """Give the first value that is not a `Failure`, or the last failure; cancel the losers.

        Who awaits a loser gets a `Failure` whose `error` is "Cancelled".
        """
        return self._engine.first(*awaitables)

    def decide(
        self, participants: Sequence[str], reason: str, *, fallback: str | None = None
    ) -> None:
        """Record who is to answer, and why. Reasons have up to 4,000 characters."""
        for participant in participants:
            self._known(participant)
        valid.text(reason, "a reason", valid.REASON)
        if fallback is not None:
            valid.text(fallback, "a fallback", valid.REASON)
        self._engine.record(
            RouteDecided(participants=tuple(participants), reason=reason, fallback=fallback)
        )

    def cast(self, voter: str, choice: str | None, reason: str) -> None:
        """Record a ballot; `choice` None is an abstention."""
        self._known(voter)
        if choice is not None:
            self._known(choice)
        valid.text(reason, "a reason", valid.REASON)
        self._engine.record(VoteCast(voter=voter, choice=choice, reason=reason))

    def tally(self, counts: Mapping[str, int], winner: str, tie_broken_by: str | None) -> None:
        """Record the count of a vote."""
        for participant in (*counts, winner):
            self._known(participant)
        if tie_broken_by is not None:
            valid.text(tie_broken_by, "a rule", valid.REASON)
        tallies = tuple(Tally(participant=p, votes=n) for p, n in counts.items())
        self._engine.record(
            VotesTallied(tallies=tallies, winner=winner, tie_broken_by=tie_broken_by)
        )

    def _known(self, participant: str) -> None:
        if valid.text(participant, "a participant's id") not in self._ids:
            names = ", ".join(p.id for p in self.participants)
            raise RouterFault(f"{participant[:100]!r} is not a participant: there are {names}")
