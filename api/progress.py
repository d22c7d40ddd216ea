"""One turn as it goes on, for eyes: who is thinking, writing, done or failed, and what was decided.

Folded from the stream's events and deltas. Every text is kept as it came; whoever shows it makes it
fit for its place (see `api.terminal_text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from api.client import Delta, Event
from api.money import spent
from api.tool_lines import tool_line, wanted

CallState = Literal["thinking", "streaming", "done", "failed", "cancelled"]
TurnState = Literal["waiting", "queued", "open", "completed", "failed", "cancelled"]

ENDED = ("completed", "failed", "cancelled")
_NOBODY = "nobody answered"


@dataclass(slots=True)
class Call:
    """One question to a participant. `since` is when it was asked, by the caller's clock."""

    step: str
    participant: str
    provider: str
    model: str
    purpose: str
    public: bool
    since: float
    blind: bool = False
    """Whether images are left out, because the model takes none."""
    continued: bool = False
    """Whether tools were called for it, and it was asked again."""
    attempt: int = 1
    state: CallState = "thinking"
    text: str = ""
    reference: Mapping[str, Any] | None = None
    """Of a text that lies beside the log, where what was streamed is all that is known of it."""
    status: str = ""
    """Why nothing comes yet, where its model says so."""
    reasoning: int = 0
    """Characters of reasoning that came so far."""
    tokens: int | None = None
    """Tokens written, reasoning included."""
    estimated: bool = False
    seconds: float | None = None
    cost: Decimal | None = None
    """US dollars, of what has a price."""
    priced: int = 0
    """How often it was paid for at a known price: more than once where it was asked again."""
    unpriced: int = 0
    """How often it took tokens that no price is known for."""
    finish_reason: str = ""
    error: str = ""
    """Name of the error's class."""
    message: str = ""
    """What went wrong, and what to do."""
    _next: dict[str, int] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether the outcome is still to come."""
        return self.state in ("thinking", "streaming")

    def add(self, delta: Delta) -> None:
        """Put a piece where it belongs; what came before is ignored, what is missing shows."""
        if not self.running or delta.attempt < self.attempt:
            return
        if delta.attempt > self.attempt:
            self.again(delta.attempt)
        begun = self._next.get(delta.channel, 0)
        end = delta.seq + len(delta.text)
        if end <= begun:
            return
        self._next[delta.channel] = end
        if delta.channel == "status":
            self.status = delta.text.rstrip("\n").rpartition("\n")[2]
            return
        self.status = ""
        if delta.channel != "text":
            self.reasoning = end
            return
        gap = " … " if delta.seq > begun else ""
        self.text += gap + delta.text[max(0, begun - delta.seq) :]
        self.state = "streaming"

    def apply(self, event: Event) -> None:
        """Take an event of this step."""
        data = event.payload
        match event.type:
            case "model.reasked":
                self.again(data["attempt"])
            case "model.answered":
                self.state, self.finish_reason = "done", data["finish_reason"]
                self.seconds = data["duration_ms"] / 1000
                if isinstance(data["text"], str):
                    self.text = data["text"]
                else:
                    self.reference = data["text"]
            case "model.failed":
                self.state, self.error, self.message = "failed", data["error"], data["message"]
            case "model.cancelled":
                self.state = "cancelled"
        self._use(data)

    def _use(self, data: Mapping[str, Any]) -> None:
        """What the call has used, as far as the event says; what was discarded was used too."""
        if usage := data.get("usage"):
            self.tokens = (self.tokens or 0) + usage["output"] + usage["reasoning"]
            self.estimated |= usage.get("estimated", False)
        if cost := data.get("cost"):
            self.cost = (self.cost or Decimal(0)) + Decimal(str(cost["amount"]))
            self.priced += 1
        elif usage:
            self.unpriced += 1

    def again(self, attempt: int) -> None:
        """The question was sent once more; what had come of it does not count."""
        self.attempt, self.state, self.text, self.reasoning = attempt, "thinking", "", 0
        self.status = ""
        self._next.clear()


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the router, or what happened with a tool, in one line.

    What models and tools wrote in it is as it came.
    """

    kind: Literal["plan", "vote", "tally", "tool"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked: whether a call may be made, or (`id`) what its tool wants to know."""

    turn: str
    step: str
    text: str
    id: str = ""
    form: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """A participant's place in the session."""

    id: str
    role: str
    provider: str
    model: str

    @property
    def title(self) -> str:
        """Role and id."""
        return f"{self.role} · {self.id}" if self.role and self.role != self.id else self.id


def seats_of(config: Mapping[str, Any]) -> tuple[Seat, ...]:
    """The seats of a session's configuration, in its order."""
    return tuple(
        Seat(each["id"], each.get("role") or "", each["provider"], each["model_name"])
        for each in config["models"]
    )


class TurnProgress:
    """The state of one turn; give it every message of the session's stream.

    `status` is "waiting" until the turn's first event came.
    """

    def __init__(self, config: Mapping[str, Any], turn: str) -> None:
        self.turn = turn
        self.pattern: str = config.get("routing_pattern") or "broadcast"
        self.seats = seats_of(config)
        self.calls: dict[str, Call] = {}
        self.history: list[Call | Decided] = []
        """Calls and decisions, in the order of the log."""
        self.questions: dict[tuple[str, str], Question] = {}
        """What waits for a person, by step and id."""
        self.status: TurnState = "waiting"
        self.problem = ""
        self.lost = ""
        """Why there is no connection to the room, while there is none."""
        self.answer_from: str | None = None
        self._answer: str | Mapping[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED

    @property
    def answer(self) -> str | Mapping[str, Any] | None:
        """What the router returned, where the turn has one answer: a text or its reference."""
        call = self.calls.get(self.answer_from or "")
        return call.text if call is not None else self._answer

    @property
    def decisions(self) -> list[Decided]:
        """What the router decided, in order."""
        return [each for each in self.history if isinstance(each, Decided)]

    @property
    def settled(self) -> bool:
        """Whether it is known what was used: calls that were called off say so after the end."""
        return self.status == "completed" or not any(
            call.state == "cancelled" and call.tokens is None for call in self.calls.values()
        )

    @property
    def spent(self) -> str:
        """What all calls so far have cost, as people read it; see `api.money`."""
        calls = self.calls.values()
        cost = sum((call.cost for call in calls if call.cost is not None), Decimal(0))
        priced, unpriced = sum(call.priced for call in calls), sum(call.unpriced for call in calls)
        return spent(cost, priced, unpriced)

    @property
    def brief_problem(self) -> str:
        """Why the turn ended without an answer, less what its failed calls say themselves."""
        failed = [call for call in self.calls.values() if call.state == "failed"]
        reasons = "; ".join(sorted({f"{call.participant}: {call.message}" for call in failed}))
        told = self.problem and f"{_NOBODY}: {reasons}".startswith(self.problem)
        return _NOBODY if told else self.problem

    @property
    def tokens(self) -> int:
        """Tokens written in all calls so far."""
        return sum(call.tokens or 0 for call in self.calls.values())

    def calls_of(self, participant: str) -> list[Call]:
        """The participant's calls in the order in which they were asked."""
        return [call for call in self.calls.values() if call.participant == participant]

    def said(self) -> Iterator[Call]:
        """Every public call that was answered, in the order in which they were asked.

        Not those that only wanted tools called.
        """
        return (
            call
            for call in self.calls.values()
            if call.public and call.state == "done" and not call.continued
        )

    # --- folding ---------------------------------------------------------------------------------

    def add(self, delta: Delta) -> None:
        """Take a piece of an answer."""
        call = self.calls.get(delta.step) if delta.turn == self.turn else None
        if call is not None:
            call.add(delta)

    def apply(self, event: Event, now: float) -> None:
        """Take an event; those of other turns are ignored. `now` is in seconds, of any clock."""
        if event.turn != self.turn:
            return
        match event.type:
            case "turn.queued":
                self.status = "queued"
            case "turn.started":
                self.status = "open"
            case "model.asked":
                self._asked(event, now)
            case "route.decided" | "vote.cast" | "votes.tallied":
                self.history.append(decided(event.type, event.payload))
            case kind if kind.partition(".")[0] in ("tool", "approval", "elicitation"):
                self._tool(event)
            case _ if (call := self.calls.get(event.step or "")) is not None:
                call.apply(event)
            case _:
                self._end(event.type, event.payload)

    def _tool(self, event: Event) -> None:
        data, step = event.payload, event.step or ""
        line = tool_line(event.type, step, data)
        self.history.append(Decided("tool", line))
        match event.type:
            case "approval.requested":
                self.questions[step, ""] = Question(self.turn, step, wanted(data))
            case "elicitation.requested":
                asked = Question(self.turn, step, line, data["id"], data.get("form"))
                self.questions[step, data["id"]] = asked
            case "approval.granted":
                self.questions.pop((step, ""), None)
            case "elicitation.answered":
                self.questions.pop((step, data["id"]), None)
            case "tool.returned" | "tool.failed" | "tool.cancelled" | "approval.denied":
                for key in [key for key in self.questions if key[0] == step]:
                    del self.questions[key]

    def _asked(self, event: Event, now: float) -> None:
        data, step = event.payload, event.step or ""
        if (before := self.calls.get(data.get("continues") or "")) is not None:
            before.continued = True
        call = self.calls[step] = Call(
            step=step,
            participant=data["participant"],
            provider=data["provider"],
            model=data["model"],
            purpose=data["purpose"],
            public=data.get("public", True),
            since=now,
            blind=data.get("images_left_out", 0) > 0,
        )
        self.history.append(call)

    def _end(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind.startswith("turn."):
            self.questions.clear()
        match kind:
            case "turn.completed":
                self.status, self.answer_from = "completed", data.get("answer_from")
                self._answer = data.get("answer")
            case "turn.failed":
                self.status, self.problem = "failed", data["message"]
            case "turn.cancelled":
                self.status, self.problem = "cancelled", data.get("reason") or ""
                for call in self.calls.values():
                    if call.running:
                        call.state = "cancelled"


def decided(kind: str, data: Mapping[str, Any]) -> Decided:
    """The decision that an event of that type holds."""
    reason = f" – {data['reason']}" if data.get("reason") else ""
    match kind:
        case "route.decided":
            who = ", ".join(data["participants"]) or "nobody"
            fallback = f" (fallback: {data['fallback']})" if data.get("fallback") else ""
            return Decided("plan", f"{who}{reason}{fallback}")
        case "vote.cast":
            choice = f" → {data['choice']}" if data["choice"] else ""
            return Decided("vote", f"{data['voter']}{choice}{reason}")
        case _:
            counts = ", ".join(f"{each['participant']} {each['votes']}" for each in data["tallies"])
            tie = f" (tie broken by {data['tie_broken_by']})" if data.get("tie_broken_by") else ""
            return Decided("tally", f"{data['winner']} wins: {counts}{tie}")
