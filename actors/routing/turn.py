"""What a router holds in its hands: one turn of one session."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.routing.engine import Pending, TurnEngine
from actors.routing.steps import Answer, AskStep, DrawStep, Failure, TimerStep
from events.config import Participant, SessionConfig
from events.errors import RouterFault
from events.types import RouteDecided, Tally, VoteCast, VotesTallied


@dataclass(frozen=True, slots=True)
class Facts:
    """What a turn depends on and the log does not hold otherwise, by participant."""

    structured_output: frozenset[str] = frozenset()
    raw: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Facts:
        """The facts out of the recorded JSON: an object of what is known by participant."""
        able = (name for name, known in raw.items() if known.get("structured_output"))
        return cls(frozenset(able), raw)


class Turn:
    """One user message and everything that follows from it.

    A router is `async def route(turn: Turn) -> Answer | str | None`. It may await only what `ask`,
    `timer`, `draw`, `gather` and `first` return. A step is emitted when the method is called, not
    when it is awaited, so `a = turn.ask("x"); b = turn.ask("y")` asks both at once. What it returns
    is the turn's answer. It must depend on nothing but the turn: no clock, no chance, no I/O.
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
    ) -> None:
        self._engine = engine
        self.id = id
        self.message = message
        self.config = config
        self.facts = facts
        self.last_speaker = last_speaker
        """Who was decided on last in this session, or None."""

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
    ) -> Pending[Answer | Failure]:
        """Ask a participant; the outcome is an `Answer` or a `Failure`.

        `public` answers become part of the conversation. `see` decides what of it is shown: up to
        the turn's message (`start`), or also what was answered since (`now`), less the steps in
        `exclude`. `schema` asks for JSON of that form, where the model can do that.
        """
        if self.config.participant(participant) is None:
            names = ", ".join(p.id for p in self.participants)
            raise RouterFault(f"{participant!r} is not a participant: there are {names}")
        return self._engine.emit(
            "ask",
            participant,
            lambda key: AskStep(
                key,
                participant,
                instruction=instruction,
                purpose=purpose,
                public=public,
                see=see,
                history=history,
                exclude=tuple(exclude),
                schema=schema,
            ),
        )

    def ask_again(self, step: AskStep) -> Pending[Answer | Failure]:
        """Ask what an earlier turn asked, with the context of that time."""

        def again(key: str) -> AskStep:
            return AskStep(
                key,
                step.participant,
                step.instruction,
                step.purpose,
                history=step.history,
                exclude=step.exclude,
                schema=step.schema,
                upto=step.upto,
            )

        return self._engine.emit("ask", step.participant, again)

    def timer(self, seconds: float, name: str = "timer") -> Pending[None]:
        """Wait for so many seconds; pauses of the session do not count."""
        return self._engine.emit("timer", name, lambda key: TimerStep(key, seconds))

    def draw(self, name: str = "chance") -> Pending[int]:
        """A number by chance, uniform in [0, 2**53); it is recorded."""
        return self._engine.emit("draw", name, DrawStep)

    def gather(self, *awaitables: Awaitable[Any]) -> Pending[tuple[Any, ...]]:
        """All values in order; no branch stops another."""
        return self._engine.gather(*awaitables)

    def first(self, *awaitables: Awaitable[Any]) -> Pending[Any]:
        """Give the first value that is not a `Failure`, or the last failure; cancel the losers."""
        return self._engine.first(*awaitables)

    def decide(
        self, participants: Sequence[str], reason: str, *, fallback: str | None = None
    ) -> None:
        """Record who is to answer, and why."""
        self._engine.record(
            RouteDecided(participants=tuple(participants), reason=reason, fallback=fallback)
        )

    def cast(self, voter: str, choice: str | None, reason: str) -> None:
        """Record a ballot; `choice` None is an abstention."""
        self._engine.record(VoteCast(voter=voter, choice=choice, reason=reason))

    def tally(self, counts: Mapping[str, int], winner: str, tie_broken_by: str | None) -> None:
        """Record the count of a vote."""
        tallies = tuple(Tally(participant=p, votes=n) for p, n in counts.items())
        self._engine.record(
            VotesTallied(tallies=tallies, winner=winner, tie_broken_by=tie_broken_by)
        )
